/** The paper's measurements (Liu et al., CCS 2017, tables 2, 4 and 5): seconds and megabytes per prediction. */
export interface PaperFigures {
  readonly offlineSeconds: number
  readonly onlineSeconds: number
  readonly offlineMegabytes?: number
  readonly onlineMegabytes?: number
}

export const PAPER: Record<string, PaperFigures> = {
  mnist: { offlineSeconds: 3.58, onlineSeconds: 5.74, offlineMegabytes: 20.9, onlineMegabytes: 636.6 },
  cifar10: { offlineSeconds: 472, onlineSeconds: 72, offlineMegabytes: 3046, onlineMegabytes: 6226 },
}
