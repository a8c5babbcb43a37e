/** Which row of which entity: the entity's name and its primary key, by property. */
export interface RowRef {
  readonly entity: string
  readonly id: Readonly<Record<string, unknown>>
}

/** All files of one version. */
export interface VersionFiles {
  readonly version: string
  readonly storage: string
  /** Keys in the storage, written or only planned. */
  readonly keys: readonly string[]
  /** Keys in the staging. */
  readonly staged: readonly string[]
}

/** Make the styles of one version, move everything to the storage, clear `processing`. */
export interface ProcessJob extends RowRef, VersionFiles {
  readonly kind: 'process'
  readonly attachment: string
}

/** Delete what a version that no row refers to any more has left. */
export interface DeleteJob extends RowRef {
  readonly kind: 'delete'
  readonly attachment: string
  readonly files: readonly VersionFiles[]
}

/** Plain JSON: what a background adapter carries to a worker, and what its dashboard shows. */
export type Job = ProcessJob | DeleteJob
