/** The paper's measurements (Liu et al., CCS 2017, tables 2, 4 and 5): seconds and megabytes per prediction. */
export interface PaperFigures {
  readonly offlineSeconds: number
  readonly onlineSeconds: number
  readonly offlineMegabytes?: number
  readonly onlineMegabytes?: number
  /** Where the network is drawn. */
  readonly figure: number
  /** Of the paper's network, percent; cross-entropy of PTB's is in PAPER_PTB. */
  readonly accuracy?: number
}

/** Cross-entropy in nats a word on PTB: the paper's network, exact and approximated, and ours in floats (../shared/models/README.md). */
export const PAPER_PTB = { exact: 4.74, approximated: 4.76, ours: 4.7195 }

export const PAPER: Record<string, PaperFigures> = {
  mnist: {
    figure: 12,
    accuracy: 99.31,
    offlineSeconds: 3.58,
    onlineSeconds: 5.74,
    offlineMegabytes: 20.9,
    onlineMegabytes: 636.6,
  },
  secure_ml: {
    figure: 10,
    accuracy: 97.6,
    offlineSeconds: 0.9,
    onlineSeconds: 0.14,
    offlineMegabytes: 3.8,
    onlineMegabytes: 12,
  },
  cryptonets: {
    figure: 11,
    accuracy: 98.95,
    offlineSeconds: 0.88,
    onlineSeconds: 0.4,
    offlineMegabytes: 3.6,
    onlineMegabytes: 44,
  },
  ptb: { figure: 14, offlineSeconds: 13.9, onlineSeconds: 4.39, onlineMegabytes: 474 },
  cifar10: {
    figure: 13,
    accuracy: 81.61,
    offlineSeconds: 472,
    onlineSeconds: 72,
    offlineMegabytes: 3046,
    onlineMegabytes: 6226,
  },
}
