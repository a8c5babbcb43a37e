// declare

export { Attached } from './attachment/attached'
export type { PictureOptions, SrcsetOptions } from './attachment/picture'
export type { ReadyOptions } from './attachment/ready'
export type { Failure } from './attachment/record'
// set up
export { Attachments, type AttachmentsOptions, type RunningWorker } from './attachments'
export {
  type BackgroundAdapter,
  type Database,
  type JobReport,
  NotHere,
  type Perform,
  type Progress,
  type Query,
  type Sending,
  TryLater,
  type Worker,
  type WorkOptions,
} from './background/adapter'
export { type InProcessOptions, inProcessBackground } from './background/in-process'
export { inlineBackground } from './background/inline'
export type { DeleteJob, Job, ProcessJob, RowRef, VersionFiles } from './background/job'
export type { PerformedJob } from './background/performed'
export type { AttachmentOptions, BackgroundOptions, ColumnName, Fallback, FallbackFile, StyleMap } from './definition/options'
// what can go wrong
export { AttachmentError, DeclarationError, ForeignWriteError, ProcessingError, RefusedFileError, StorageError, UsageError } from './errors'
// attach
export { type DirectUpload, type FileSource, fromDirectUpload, fromPath, type Source } from './file/source'
export type { DirectUploadOptions, FetchHandler } from './http/direct-uploads'
export { toNodeHandler } from './http/node-handler'
export type { AskedUpload } from './http/upload-port'
export type { AttachOptions } from './lifecycle/attach'
export type { Announced } from './lifecycle/direct'
// who is told
export { memoryNotifier } from './notify/memory'
export { type MqttClient, type MqttNotifierOptions, mqttNotifier } from './notify/mqtt'
export type { Along, Message, Notifier, Statement } from './notify/notifier'
export { type PostgresNotifierOptions, postgresNotifier } from './notify/postgres'
export { type RedisClient, type RedisListener, type RedisNotifierOptions, redisNotifier } from './notify/redis'
export type { Signal, State } from './notify/signal'
export type { AttachmentEvents } from './notify/signals'
export { type ImageProcessorOptions, imageProcessor } from './processor/image'
export { type OutsideProcessorOptions, outsideProcessor } from './processor/outside'
export type { HandedOn, Identified, Made, Outside, Processor, ProcessorInput } from './processor/processor'
export { type DiskStorageOptions, diskStorage } from './storage/disk'
export { type MemoryStorage, memoryStorage } from './storage/memory'
// write your own
export type {
  CopyInfo,
  DirectUploads,
  ObjectFacts,
  ObjectInfo,
  ReadOptions,
  SignedUrlOptions,
  Storage,
  StorageArea,
  StoredObject,
  UploadedPart,
  UploadForm,
  UploadInfo,
  WriteInfo,
} from './storage/storage'
export type { Format, Style, StyleOptions } from './style/style'
export { Attachment } from './typeorm/decorator'
export type { ExpectOptions } from './uploads'
