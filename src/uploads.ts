import type { EntityManager } from 'typeorm'
import type { AnyAttached } from './attachment/attached'
import { newVersion } from './attachment/record'
import type { Connection } from './connection'
import { RefusedFileError, UsageError } from './errors'
import type { DirectUpload } from './file/source'
import { formHere } from './http/take'
import { type Announced, checkAnnounced, takeOver } from './lifecycle/direct'
import { awaited } from './lifecycle/expect'
import { printedId } from './lifecycle/plan'
import { stagedName, stagedOriginal } from './lifecycle/staged'
import type { Claim, Tokens } from './lifecycle/token'
import type { UploadForm, UploadInfo } from './storage/storage'
import { type BoundAttachment, rowRef } from './typeorm/binding'

/** How long a token is good. Half as long as what nobody saved is left alone in the staging. Milliseconds. */
const tokenLifetime = 12 * 60 * 60_000
/** How long an upload may take that began at the last moment. Milliseconds. */
const longestUpload = 60 * 60_000

/** What a client asks for. */
export interface AskedUpload extends Announced {
  /** Name of the entity. */
  readonly entity: string
  /** Name of its attachment. */
  readonly property: string
}

/** An upload that may be made. */
export interface PlannedUpload {
  readonly token: string
  /** Its key in the staging. */
  readonly key: string
  readonly info: UploadInfo
}

export interface ExpectOptions {
  /** Seconds until which the upload has to begin: 1 to 43,200. Default 3,600. An hour later it is given up, with `never_uploaded`. */
  readonly expiresIn?: number
  /** Where `directUploads()` is mounted, such as `/uploads`: for a staging that browsers cannot write to themselves. */
  readonly url?: string
  /** Saves the entity: that of your transaction, say. Default: the data source's. */
  readonly manager?: EntityManager
}

/** Files that browsers bring to the staging by themselves. */
export class Uploads {
  constructor(
    readonly connection: Connection,
    readonly tokensOf: () => Tokens,
  ) {}

  plan({ entity, property, ...announced }: AskedUpload, subject: string | null): PlannedUpload {
    const { definition } = this.connection.binding.find(entity, property)
    const checked = checkAnnounced(announced, definition)
    return this.#planned({ entity, attachment: property, version: newVersion(), ...checked, subject, until: Date.now() + tokenLifetime })
  }

  open(token: string): PlannedUpload {
    return this.#planned(this.tokensOf().open(token, Date.now()), token)
  }

  #planned(claim: Claim, token = this.tokensOf().sign(claim)): PlannedUpload {
    const { entity, attachment, version, fileName, contentType, size } = claim
    return { token, key: stagedOriginal(entity, attachment, version), info: { fileName, contentType, size } }
  }

  /** A token for a file that was attached and not saved. */
  tokenFor({ entity, property }: BoundAttachment, value: AnyAttached | null | undefined, subject: string | null): string {
    const file = value?.version ? this.connection.intents.get(value.version)?.file : undefined
    if (!file || file.meta.styles['original']?.awaited)
      throw new UsageError('nothing_attached', `${entity}.${property} has no file that waits to be saved: attach() one first`)
    const { version, fileName, contentType, fileSize: size, fingerprint } = file
    const claim = { entity, attachment: property, version, fileName, contentType, size, subject, until: Date.now() + tokenLifetime }
    return this.tokensOf().sign(fingerprint === null ? claim : { ...claim, fingerprint })
  }

  /** Of Uppy a page hears nothing but the key of the object in its bucket: the token lies there. No token has a slash, and such a key has. */
  async #tokenOf(given: string): Promise<string> {
    if (typeof given !== 'string' || !given.includes('/')) return given
    const { setup, binding } = this.connection
    const key = setup.staging.uploads?.keyOf(given) ?? ''
    const { version = '' } = stagedName(key) ?? {}
    // what else a page says may be nothing that a storage can be asked for
    const isOurs = binding.attachments.some(({ entity, property }) => stagedOriginal(entity, property, version) === key)
    const found = isOurs ? await setup.staging.stat(key) : undefined
    if (found?.token !== undefined && this.open(found.token).key === key) return found.token
    throw new RefusedFileError('upload_missing', 'nothing was uploaded there, or it has been taken already: upload the file again')
  }

  /** The value of an entity that takes over what was uploaded under a token. */
  async take(bound: BoundAttachment, owner: object, { token, subject }: DirectUpload): Promise<AnyAttached> {
    const { connection } = this
    const { entity, property } = bound
    const claim = this.tokensOf().open(await this.#tokenOf(token), Date.now())
    if (claim.entity !== entity || claim.attachment !== property) {
      throw new RefusedFileError('foreign_token', `the token is for a file of ${claim.entity}.${claim.attachment}, not of ${entity}.${property}`)
    }
    if (claim.subject !== subject) {
      const cure = 'give fromDirectUpload(token, { subject }) what authorize returned for whoever sends this'
      throw new RefusedFileError('foreign_token', `the token for ${entity}.${property} was made for somebody else: ${cure}`)
    }
    const { rows, staging } = connection.ports()
    const [taken] = await rows.atVersions(entity, property, [claim.version])
    if (taken) {
      // the same form, sent twice
      if (printedId(taken.ref.id) === printedId(rowRef(bound.metadata, owner).id)) return bound.create(taken.record)
      throw new RefusedFileError('token_used', `the upload of '${claim.fileName}' was taken by another ${entity} already: upload the file again`)
    }
    const file = await takeOver(claim, bound.definition, owner, staging)
    connection.intents.add({ entity, attachment: property, version: file.version, file })
    return bound.create(file)
  }

  /** Saves an entity whose file is yet to come, and says how it is to come. */
  async expect(
    bound: BoundAttachment,
    owner: object,
    announced: Announced,
    { expiresIn = 3600, url, manager = this.connection.dataSource.manager }: ExpectOptions,
  ): Promise<UploadForm> {
    const { entity, property, definition } = bound
    checkExpiry(expiresIn)
    const { staging } = this.connection.setup
    const until = Date.now() + expiresIn * 1000 + longestUpload
    const file = await awaited(checkAnnounced(announced, definition), definition, entity, owner, new Date(until), staging)
    const { version, fileName, contentType, fileSize: size } = file
    const info = { fileName, contentType, size }
    if (!staging.uploads && url === undefined)
      throw new UsageError(
        'url_missing',
        "the staging takes no uploads from browsers: mount directUploads(), and say where by expect(…, { url: '/uploads' })",
      )
    // what cannot be signed must not be awaited
    const form = await (staging.uploads
      ? staging.uploads.form(stagedOriginal(entity, property, version), info, expiresIn)
      : formHere(url as string, this.tokensOf().sign({ entity, attachment: property, version, ...info, subject: null, until })))
    this.connection.intents.add({ entity, attachment: property, version, file })
    Object.assign(owner, { [property]: bound.create(file) })
    await manager.save(owner)
    return form
  }
}

/** Throws a `UsageError` for what no upload can be signed for. Seconds. */
export function checkExpiry(expiresIn: number): void {
  if (Number.isInteger(expiresIn) && expiresIn >= 1 && expiresIn <= tokenLifetime / 1000) return
  throw new UsageError('bad_expiry', `an upload cannot be signed for ${expiresIn} seconds: give 1 to ${tokenLifetime / 1000} (twelve hours)`)
}
