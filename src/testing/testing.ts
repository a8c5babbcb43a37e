export { type BackgroundContractOptions, backgroundContract } from './background/contract'
export type { ContractCase, ProcessOptions } from './case'
export { storageContract } from './storage/contract'
