// declare
export { Attachment } from './typeorm/decorator'
export { Attached } from './attachment/attached'
export type { AttachmentOptions, ColumnName, Fallback, FallbackFile, StyleMap } from './definition/options'
export type { Format, Style, StyleOptions } from './style/style'

// set up
export { Attachments, type AttachmentsOptions } from './attachments'
export { type DiskStorageOptions, diskStorage } from './storage/disk'
export { type MemoryStorage, memoryStorage } from './storage/memory'
export { type InProcessOptions, inProcessBackground } from './background/in-process'
export { inlineBackground } from './background/inline'
export { type ImageProcessorOptions, imageProcessor } from './processor/image'

// attach
export { fromPath, type FileSource, type Source } from './file/source'
export type { AttachOptions } from './lifecycle/attach'

// what can go wrong
export { AttachmentError, DeclarationError, ForeignWriteError, ProcessingError, RefusedFileError, StorageError, UsageError } from './errors'
export type { Failure } from './attachment/record'

// write your own
export type { ObjectInfo, SignedUrlOptions, Storage } from './storage/storage'
export { type BackgroundAdapter, type Perform, TryLater, type Worker } from './background/adapter'
export type { DeleteJob, Job, ProcessJob, RowRef, VersionFiles } from './background/job'
export type { Identified, Made, Processor, ProcessorInput } from './processor/processor'
