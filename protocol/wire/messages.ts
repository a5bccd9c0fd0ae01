import { decodeMessage, encodeMessage, MaxLengthError, message, streamMessage } from 'protons-runtime'
import { alloc as uint8ArrayAlloc } from 'uint8arrays/alloc'
import type { Codec, DecodeOptions } from 'protons-runtime'
import type { Uint8ArrayList } from 'uint8arraylist'

export interface ErrorMessage {
  code: string
  message: string
}

export namespace ErrorMessage {
  let _codec: Codec<ErrorMessage>

  export const codec = (): Codec<ErrorMessage> => {
    if (_codec == null) {
      _codec = message<ErrorMessage>((obj, w, opts = {}) => {
        if (opts.lengthDelimited !== false) {
          w.fork()
        }

        if ((obj.code != null && obj.code !== '')) {
          w.uint32(10)
          w.string(obj.code)
        }

        if ((obj.message != null && obj.message !== '')) {
          w.uint32(18)
          w.string(obj.message)
        }

        if (opts.lengthDelimited !== false) {
          w.ldelim()
        }
      }, (reader, length, opts = {}) => {
        const obj: any = {
          code: '',
          message: ''
        }

        const end = length == null ? reader.len : reader.pos + length

        while (reader.pos < end) {
          const tag = reader.uint32()

          switch (tag >>> 3) {
            case 1: {
              obj.code = reader.string()
              break
            }
            case 2: {
              obj.message = reader.string()
              break
            }
            default: {
              reader.skipType(tag & 7)
              break
            }
          }
        }

        return obj
      }, function * (reader, length, prefix, opts = {}) {
        const end = length == null ? reader.len : reader.pos + length

        while (reader.pos < end) {
          const tag = reader.uint32()

          switch (tag >>> 3) {
            case 1: {
              yield {
                field: `${prefix}.code`,
                value: reader.string()
              }
              break
            }
            case 2: {
              yield {
                field: `${prefix}.message`,
                value: reader.string()
              }
              break
            }
            default: {
              reader.skipType(tag & 7)
              break
            }
          }
        }
      })
    }

    return _codec
  }

  export interface ErrorMessageCodeFieldEvent {
    field: '$.code'
    value: string
  }

  export interface ErrorMessageMessageFieldEvent {
    field: '$.message'
    value: string
  }

  export function encode (obj: Partial<ErrorMessage>): Uint8Array<ArrayBuffer> {
    return encodeMessage(obj, ErrorMessage.codec())
  }

  export function decode (buf: Uint8Array | Uint8ArrayList, opts?: DecodeOptions<ErrorMessage>): ErrorMessage {
    return decodeMessage(buf, ErrorMessage.codec(), opts)
  }

  export function stream (buf: Uint8Array | Uint8ArrayList, opts?: DecodeOptions<ErrorMessage>): Generator<ErrorMessageCodeFieldEvent | ErrorMessageMessageFieldEvent> {
    return streamMessage(buf, ErrorMessage.codec(), opts)
  }
}

export interface CatalogRequest {
  modelId?: string
}

export namespace CatalogRequest {
  let _codec: Codec<CatalogRequest>

  export const codec = (): Codec<CatalogRequest> => {
    if (_codec == null) {
      _codec = message<CatalogRequest>((obj, w, opts = {}) => {
        if (opts.lengthDelimited !== false) {
          w.fork()
        }

        if (obj.modelId != null) {
          w.uint32(10)
          w.string(obj.modelId)
        }

        if (opts.lengthDelimited !== false) {
          w.ldelim()
        }
      }, (reader, length, opts = {}) => {
        const obj: any = {}

        const end = length == null ? reader.len : reader.pos + length

        while (reader.pos < end) {
          const tag = reader.uint32()

          switch (tag >>> 3) {
            case 1: {
              obj.modelId = reader.string()
              break
            }
            default: {
              reader.skipType(tag & 7)
              break
            }
          }
        }

        return obj
      }, function * (reader, length, prefix, opts = {}) {
        const end = length == null ? reader.len : reader.pos + length

        while (reader.pos < end) {
          const tag = reader.uint32()

          switch (tag >>> 3) {
            case 1: {
              yield {
                field: `${prefix}.modelId`,
                value: reader.string()
              }
              break
            }
            default: {
              reader.skipType(tag & 7)
              break
            }
          }
        }
      })
    }

    return _codec
  }

  export interface CatalogRequestModelIdFieldEvent {
    field: '$.modelId'
    value: string
  }

  export function encode (obj: Partial<CatalogRequest>): Uint8Array<ArrayBuffer> {
    return encodeMessage(obj, CatalogRequest.codec())
  }

  export function decode (buf: Uint8Array | Uint8ArrayList, opts?: DecodeOptions<CatalogRequest>): CatalogRequest {
    return decodeMessage(buf, CatalogRequest.codec(), opts)
  }

  export function stream (buf: Uint8Array | Uint8ArrayList, opts?: DecodeOptions<CatalogRequest>): Generator<CatalogRequestModelIdFieldEvent> {
    return streamMessage(buf, CatalogRequest.codec(), opts)
  }
}

export interface CatalogEntry {
  name: string
  modelId: string
  description: string
}

export namespace CatalogEntry {
  let _codec: Codec<CatalogEntry>

  export const codec = (): Codec<CatalogEntry> => {
    if (_codec == null) {
      _codec = message<CatalogEntry>((obj, w, opts = {}) => {
        if (opts.lengthDelimited !== false) {
          w.fork()
        }

        if ((obj.name != null && obj.name !== '')) {
          w.uint32(10)
          w.string(obj.name)
        }

        if ((obj.modelId != null && obj.modelId !== '')) {
          w.uint32(18)
          w.string(obj.modelId)
        }

        if ((obj.description != null && obj.description !== '')) {
          w.uint32(26)
          w.string(obj.description)
        }

        if (opts.lengthDelimited !== false) {
          w.ldelim()
        }
      }, (reader, length, opts = {}) => {
        const obj: any = {
          name: '',
          modelId: '',
          description: ''
        }

        const end = length == null ? reader.len : reader.pos + length

        while (reader.pos < end) {
          const tag = reader.uint32()

          switch (tag >>> 3) {
            case 1: {
              obj.name = reader.string()
              break
            }
            case 2: {
              obj.modelId = reader.string()
              break
            }
            case 3: {
              obj.description = reader.string()
              break
            }
            default: {
              reader.skipType(tag & 7)
              break
            }
          }
        }

        return obj
      }, function * (reader, length, prefix, opts = {}) {
        const end = length == null ? reader.len : reader.pos + length

        while (reader.pos < end) {
          const tag = reader.uint32()

          switch (tag >>> 3) {
            case 1: {
              yield {
                field: `${prefix}.name`,
                value: reader.string()
              }
              break
            }
            case 2: {
              yield {
                field: `${prefix}.modelId`,
                value: reader.string()
              }
              break
            }
            case 3: {
              yield {
                field: `${prefix}.description`,
                value: reader.string()
              }
              break
            }
            default: {
              reader.skipType(tag & 7)
              break
            }
          }
        }
      })
    }

    return _codec
  }

  export interface CatalogEntryNameFieldEvent {
    field: '$.name'
    value: string
  }

  export interface CatalogEntryModelIdFieldEvent {
    field: '$.modelId'
    value: string
  }

  export interface CatalogEntryDescriptionFieldEvent {
    field: '$.description'
    value: string
  }

  export function encode (obj: Partial<CatalogEntry>): Uint8Array<ArrayBuffer> {
    return encodeMessage(obj, CatalogEntry.codec())
  }

  export function decode (buf: Uint8Array | Uint8ArrayList, opts?: DecodeOptions<CatalogEntry>): CatalogEntry {
    return decodeMessage(buf, CatalogEntry.codec(), opts)
  }

  export function stream (buf: Uint8Array | Uint8ArrayList, opts?: DecodeOptions<CatalogEntry>): Generator<CatalogEntryNameFieldEvent | CatalogEntryModelIdFieldEvent | CatalogEntryDescriptionFieldEvent> {
    return streamMessage(buf, CatalogEntry.codec(), opts)
  }
}

export interface CatalogReply {
  entries: CatalogEntry[]
}

export namespace CatalogReply {
  let _codec: Codec<CatalogReply>

  export const codec = (): Codec<CatalogReply> => {
    if (_codec == null) {
      _codec = message<CatalogReply>((obj, w, opts = {}) => {
        if (opts.lengthDelimited !== false) {
          w.fork()
        }

        if (obj.entries != null && obj.entries.length > 0) {
          for (const value of obj.entries) {
            w.uint32(10)
            CatalogEntry.codec().encode(value, w)
          }
        }

        if (opts.lengthDelimited !== false) {
          w.ldelim()
        }
      }, (reader, length, opts = {}) => {
        const obj: any = {
          entries: []
        }

        const end = length == null ? reader.len : reader.pos + length

        while (reader.pos < end) {
          const tag = reader.uint32()

          switch (tag >>> 3) {
            case 1: {
              if (opts.limits?.entries != null && obj.entries.length === opts.limits.entries) {
                throw new MaxLengthError('Decode error - repeated field "entries" had too many elements')
              }

              obj.entries.push(CatalogEntry.codec().decode(reader, reader.uint32(), {
                limits: opts.limits?.entries$
              }))
              break
            }
            default: {
              reader.skipType(tag & 7)
              break
            }
          }
        }

        return obj
      }, function * (reader, length, prefix, opts = {}) {
        const obj = {
          entries: 0
        }

        const end = length == null ? reader.len : reader.pos + length

        while (reader.pos < end) {
          const tag = reader.uint32()

          switch (tag >>> 3) {
            case 1: {
              if (opts.limits?.entries != null && obj.entries === opts.limits.entries) {
                throw new MaxLengthError('Streaming decode error - repeated field "entries" had too many elements')
              }

              for (const evt of CatalogEntry.codec().stream(reader, reader.uint32(), `${prefix}.entries[]`, {
                limits: opts.limits?.entries$
              })) {
                yield {
                  ...evt,
                  index: obj.entries
                }
              }

              obj.entries++

              break
            }
            default: {
              reader.skipType(tag & 7)
              break
            }
          }
        }
      })
    }

    return _codec
  }

  export interface CatalogReplyEntriesNameFieldEvent {
    field: '$.entries[].name'
    value: string
    index: number
  }

  export interface CatalogReplyEntriesModelIdFieldEvent {
    field: '$.entries[].modelId'
    value: string
    index: number
  }

  export interface CatalogReplyEntriesDescriptionFieldEvent {
    field: '$.entries[].description'
    value: string
    index: number
  }

  export function encode (obj: Partial<CatalogReply>): Uint8Array<ArrayBuffer> {
    return encodeMessage(obj, CatalogReply.codec())
  }

  export function decode (buf: Uint8Array | Uint8ArrayList, opts?: DecodeOptions<CatalogReply>): CatalogReply {
    return decodeMessage(buf, CatalogReply.codec(), opts)
  }

  export function stream (buf: Uint8Array | Uint8ArrayList, opts?: DecodeOptions<CatalogReply>): Generator<CatalogReplyEntriesNameFieldEvent | CatalogReplyEntriesModelIdFieldEvent | CatalogReplyEntriesDescriptionFieldEvent> {
    return streamMessage(buf, CatalogReply.codec(), opts)
  }
}

export interface PrepareRequest {
  count: number
  engine: string
}

export namespace PrepareRequest {
  let _codec: Codec<PrepareRequest>

  export const codec = (): Codec<PrepareRequest> => {
    if (_codec == null) {
      _codec = message<PrepareRequest>((obj, w, opts = {}) => {
        if (opts.lengthDelimited !== false) {
          w.fork()
        }

        if ((obj.count != null && obj.count !== 0)) {
          w.uint32(8)
          w.uint32(obj.count)
        }

        if ((obj.engine != null && obj.engine !== '')) {
          w.uint32(18)
          w.string(obj.engine)
        }

        if (opts.lengthDelimited !== false) {
          w.ldelim()
        }
      }, (reader, length, opts = {}) => {
        const obj: any = {
          count: 0,
          engine: ''
        }

        const end = length == null ? reader.len : reader.pos + length

        while (reader.pos < end) {
          const tag = reader.uint32()

          switch (tag >>> 3) {
            case 1: {
              obj.count = reader.uint32()
              break
            }
            case 2: {
              obj.engine = reader.string()
              break
            }
            default: {
              reader.skipType(tag & 7)
              break
            }
          }
        }

        return obj
      }, function * (reader, length, prefix, opts = {}) {
        const end = length == null ? reader.len : reader.pos + length

        while (reader.pos < end) {
          const tag = reader.uint32()

          switch (tag >>> 3) {
            case 1: {
              yield {
                field: `${prefix}.count`,
                value: reader.uint32()
              }
              break
            }
            case 2: {
              yield {
                field: `${prefix}.engine`,
                value: reader.string()
              }
              break
            }
            default: {
              reader.skipType(tag & 7)
              break
            }
          }
        }
      })
    }

    return _codec
  }

  export interface PrepareRequestCountFieldEvent {
    field: '$.count'
    value: number
  }

  export interface PrepareRequestEngineFieldEvent {
    field: '$.engine'
    value: string
  }

  export function encode (obj: Partial<PrepareRequest>): Uint8Array<ArrayBuffer> {
    return encodeMessage(obj, PrepareRequest.codec())
  }

  export function decode (buf: Uint8Array | Uint8ArrayList, opts?: DecodeOptions<PrepareRequest>): PrepareRequest {
    return decodeMessage(buf, PrepareRequest.codec(), opts)
  }

  export function stream (buf: Uint8Array | Uint8ArrayList, opts?: DecodeOptions<PrepareRequest>): Generator<PrepareRequestCountFieldEvent | PrepareRequestEngineFieldEvent> {
    return streamMessage(buf, PrepareRequest.codec(), opts)
  }
}

export interface PrepareAccept {
  bundleIds: Uint8Array<ArrayBuffer>[]
}

export namespace PrepareAccept {
  let _codec: Codec<PrepareAccept>

  export const codec = (): Codec<PrepareAccept> => {
    if (_codec == null) {
      _codec = message<PrepareAccept>((obj, w, opts = {}) => {
        if (opts.lengthDelimited !== false) {
          w.fork()
        }

        if (obj.bundleIds != null && obj.bundleIds.length > 0) {
          for (const value of obj.bundleIds) {
            w.uint32(10)
            w.bytes(value)
          }
        }

        if (opts.lengthDelimited !== false) {
          w.ldelim()
        }
      }, (reader, length, opts = {}) => {
        const obj: any = {
          bundleIds: []
        }

        const end = length == null ? reader.len : reader.pos + length

        while (reader.pos < end) {
          const tag = reader.uint32()

          switch (tag >>> 3) {
            case 1: {
              if (opts.limits?.bundleIds != null && obj.bundleIds.length === opts.limits.bundleIds) {
                throw new MaxLengthError('Decode error - repeated field "bundleIds" had too many elements')
              }

              obj.bundleIds.push(reader.bytes())
              break
            }
            default: {
              reader.skipType(tag & 7)
              break
            }
          }
        }

        return obj
      }, function * (reader, length, prefix, opts = {}) {
        const obj = {
          bundleIds: 0
        }

        const end = length == null ? reader.len : reader.pos + length

        while (reader.pos < end) {
          const tag = reader.uint32()

          switch (tag >>> 3) {
            case 1: {
              if (opts.limits?.bundleIds != null && obj.bundleIds === opts.limits.bundleIds) {
                throw new MaxLengthError('Streaming decode error - repeated field "bundleIds" had too many elements')
              }

              yield {
                field: `${prefix}.bundleIds[]`,
                index: obj.bundleIds,
                value: reader.bytes()
              }

              obj.bundleIds++

              break
            }
            default: {
              reader.skipType(tag & 7)
              break
            }
          }
        }
      })
    }

    return _codec
  }

  export interface PrepareAcceptBundleIdsFieldEvent {
    field: '$.bundleIds[]'
    index: number
    value: Uint8Array<ArrayBuffer>
  }

  export function encode (obj: Partial<PrepareAccept>): Uint8Array<ArrayBuffer> {
    return encodeMessage(obj, PrepareAccept.codec())
  }

  export function decode (buf: Uint8Array | Uint8ArrayList, opts?: DecodeOptions<PrepareAccept>): PrepareAccept {
    return decodeMessage(buf, PrepareAccept.codec(), opts)
  }

  export function stream (buf: Uint8Array | Uint8ArrayList, opts?: DecodeOptions<PrepareAccept>): Generator<PrepareAcceptBundleIdsFieldEvent> {
    return streamMessage(buf, PrepareAccept.codec(), opts)
  }
}

export interface PrepareDone {
  count: number
}

export namespace PrepareDone {
  let _codec: Codec<PrepareDone>

  export const codec = (): Codec<PrepareDone> => {
    if (_codec == null) {
      _codec = message<PrepareDone>((obj, w, opts = {}) => {
        if (opts.lengthDelimited !== false) {
          w.fork()
        }

        if ((obj.count != null && obj.count !== 0)) {
          w.uint32(8)
          w.uint32(obj.count)
        }

        if (opts.lengthDelimited !== false) {
          w.ldelim()
        }
      }, (reader, length, opts = {}) => {
        const obj: any = {
          count: 0
        }

        const end = length == null ? reader.len : reader.pos + length

        while (reader.pos < end) {
          const tag = reader.uint32()

          switch (tag >>> 3) {
            case 1: {
              obj.count = reader.uint32()
              break
            }
            default: {
              reader.skipType(tag & 7)
              break
            }
          }
        }

        return obj
      }, function * (reader, length, prefix, opts = {}) {
        const end = length == null ? reader.len : reader.pos + length

        while (reader.pos < end) {
          const tag = reader.uint32()

          switch (tag >>> 3) {
            case 1: {
              yield {
                field: `${prefix}.count`,
                value: reader.uint32()
              }
              break
            }
            default: {
              reader.skipType(tag & 7)
              break
            }
          }
        }
      })
    }

    return _codec
  }

  export interface PrepareDoneCountFieldEvent {
    field: '$.count'
    value: number
  }

  export function encode (obj: Partial<PrepareDone>): Uint8Array<ArrayBuffer> {
    return encodeMessage(obj, PrepareDone.codec())
  }

  export function decode (buf: Uint8Array | Uint8ArrayList, opts?: DecodeOptions<PrepareDone>): PrepareDone {
    return decodeMessage(buf, PrepareDone.codec(), opts)
  }

  export function stream (buf: Uint8Array | Uint8ArrayList, opts?: DecodeOptions<PrepareDone>): Generator<PrepareDoneCountFieldEvent> {
    return streamMessage(buf, PrepareDone.codec(), opts)
  }
}

export interface InferRequest {
  bundleId: Uint8Array<ArrayBuffer>
  otSession: number
  session: Uint8Array<ArrayBuffer>
  step: number
}

export namespace InferRequest {
  let _codec: Codec<InferRequest>

  export const codec = (): Codec<InferRequest> => {
    if (_codec == null) {
      _codec = message<InferRequest>((obj, w, opts = {}) => {
        if (opts.lengthDelimited !== false) {
          w.fork()
        }

        if ((obj.bundleId != null && obj.bundleId.byteLength > 0)) {
          w.uint32(10)
          w.bytes(obj.bundleId)
        }

        if ((obj.otSession != null && obj.otSession !== 0)) {
          w.uint32(16)
          w.uint32(obj.otSession)
        }

        if ((obj.session != null && obj.session.byteLength > 0)) {
          w.uint32(26)
          w.bytes(obj.session)
        }

        if ((obj.step != null && obj.step !== 0)) {
          w.uint32(32)
          w.uint32(obj.step)
        }

        if (opts.lengthDelimited !== false) {
          w.ldelim()
        }
      }, (reader, length, opts = {}) => {
        const obj: any = {
          bundleId: uint8ArrayAlloc(0),
          otSession: 0,
          session: uint8ArrayAlloc(0),
          step: 0
        }

        const end = length == null ? reader.len : reader.pos + length

        while (reader.pos < end) {
          const tag = reader.uint32()

          switch (tag >>> 3) {
            case 1: {
              obj.bundleId = reader.bytes()
              break
            }
            case 2: {
              obj.otSession = reader.uint32()
              break
            }
            case 3: {
              obj.session = reader.bytes()
              break
            }
            case 4: {
              obj.step = reader.uint32()
              break
            }
            default: {
              reader.skipType(tag & 7)
              break
            }
          }
        }

        return obj
      }, function * (reader, length, prefix, opts = {}) {
        const end = length == null ? reader.len : reader.pos + length

        while (reader.pos < end) {
          const tag = reader.uint32()

          switch (tag >>> 3) {
            case 1: {
              yield {
                field: `${prefix}.bundleId`,
                value: reader.bytes()
              }
              break
            }
            case 2: {
              yield {
                field: `${prefix}.otSession`,
                value: reader.uint32()
              }
              break
            }
            case 3: {
              yield {
                field: `${prefix}.session`,
                value: reader.bytes()
              }
              break
            }
            case 4: {
              yield {
                field: `${prefix}.step`,
                value: reader.uint32()
              }
              break
            }
            default: {
              reader.skipType(tag & 7)
              break
            }
          }
        }
      })
    }

    return _codec
  }

  export interface InferRequestBundleIdFieldEvent {
    field: '$.bundleId'
    value: Uint8Array<ArrayBuffer>
  }

  export interface InferRequestOtSessionFieldEvent {
    field: '$.otSession'
    value: number
  }

  export interface InferRequestSessionFieldEvent {
    field: '$.session'
    value: Uint8Array<ArrayBuffer>
  }

  export interface InferRequestStepFieldEvent {
    field: '$.step'
    value: number
  }

  export function encode (obj: Partial<InferRequest>): Uint8Array<ArrayBuffer> {
    return encodeMessage(obj, InferRequest.codec())
  }

  export function decode (buf: Uint8Array | Uint8ArrayList, opts?: DecodeOptions<InferRequest>): InferRequest {
    return decodeMessage(buf, InferRequest.codec(), opts)
  }

  export function stream (buf: Uint8Array | Uint8ArrayList, opts?: DecodeOptions<InferRequest>): Generator<InferRequestBundleIdFieldEvent | InferRequestOtSessionFieldEvent | InferRequestSessionFieldEvent | InferRequestStepFieldEvent> {
    return streamMessage(buf, InferRequest.codec(), opts)
  }
}

export interface InferAccept {
  otSession: number
  resumed: boolean
  hashSeed: Uint8Array<ArrayBuffer>
}

export namespace InferAccept {
  let _codec: Codec<InferAccept>

  export const codec = (): Codec<InferAccept> => {
    if (_codec == null) {
      _codec = message<InferAccept>((obj, w, opts = {}) => {
        if (opts.lengthDelimited !== false) {
          w.fork()
        }

        if ((obj.otSession != null && obj.otSession !== 0)) {
          w.uint32(8)
          w.uint32(obj.otSession)
        }

        if ((obj.resumed != null && obj.resumed !== false)) {
          w.uint32(16)
          w.bool(obj.resumed)
        }

        if ((obj.hashSeed != null && obj.hashSeed.byteLength > 0)) {
          w.uint32(26)
          w.bytes(obj.hashSeed)
        }

        if (opts.lengthDelimited !== false) {
          w.ldelim()
        }
      }, (reader, length, opts = {}) => {
        const obj: any = {
          otSession: 0,
          resumed: false,
          hashSeed: uint8ArrayAlloc(0)
        }

        const end = length == null ? reader.len : reader.pos + length

        while (reader.pos < end) {
          const tag = reader.uint32()

          switch (tag >>> 3) {
            case 1: {
              obj.otSession = reader.uint32()
              break
            }
            case 2: {
              obj.resumed = reader.bool()
              break
            }
            case 3: {
              obj.hashSeed = reader.bytes()
              break
            }
            default: {
              reader.skipType(tag & 7)
              break
            }
          }
        }

        return obj
      }, function * (reader, length, prefix, opts = {}) {
        const end = length == null ? reader.len : reader.pos + length

        while (reader.pos < end) {
          const tag = reader.uint32()

          switch (tag >>> 3) {
            case 1: {
              yield {
                field: `${prefix}.otSession`,
                value: reader.uint32()
              }
              break
            }
            case 2: {
              yield {
                field: `${prefix}.resumed`,
                value: reader.bool()
              }
              break
            }
            case 3: {
              yield {
                field: `${prefix}.hashSeed`,
                value: reader.bytes()
              }
              break
            }
            default: {
              reader.skipType(tag & 7)
              break
            }
          }
        }
      })
    }

    return _codec
  }

  export interface InferAcceptOtSessionFieldEvent {
    field: '$.otSession'
    value: number
  }

  export interface InferAcceptResumedFieldEvent {
    field: '$.resumed'
    value: boolean
  }

  export interface InferAcceptHashSeedFieldEvent {
    field: '$.hashSeed'
    value: Uint8Array<ArrayBuffer>
  }

  export function encode (obj: Partial<InferAccept>): Uint8Array<ArrayBuffer> {
    return encodeMessage(obj, InferAccept.codec())
  }

  export function decode (buf: Uint8Array | Uint8ArrayList, opts?: DecodeOptions<InferAccept>): InferAccept {
    return decodeMessage(buf, InferAccept.codec(), opts)
  }

  export function stream (buf: Uint8Array | Uint8ArrayList, opts?: DecodeOptions<InferAccept>): Generator<InferAcceptOtSessionFieldEvent | InferAcceptResumedFieldEvent | InferAcceptHashSeedFieldEvent> {
    return streamMessage(buf, InferAccept.codec(), opts)
  }
}
