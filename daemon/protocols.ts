/** libp2p protocol ids. A served model registers its own, so that identify tells peers what a node serves. */
import { PROTOCOL_VERSION } from '../protocol/model/plan.js'

export const CATALOG_PROTOCOL = `/minionn/catalog/${PROTOCOL_VERSION}`
export const prepareProtocol = (model: string) => `/minionn/prepare/${PROTOCOL_VERSION}/${model}`
export const inferProtocol = (model: string) => `/minionn/infer/${PROTOCOL_VERSION}/${model}`
