import { hostname } from 'node:os'
import { type AttachmentRecord, type StagedAt, stagedKeys } from '../attachment/record'
import type { AttachmentRef } from '../attachment/rows'
import { NotHere } from '../background/adapter'
import { UsageError } from '../errors'
import type { Storage } from '../storage/storage'
import type { FencedRow } from './fence'
import type { Ports } from './ports'
import { warn } from './send'

/** How soon a job that landed on the wrong machine is offered again: at first, and at most. Milliseconds. */
const soon = 1_000
const latest = 30_000
/** How often it has to be offered before nobody is to come: time alone may pass in a long queue. */
const offers = 20

/**
 * Where this machine stages files, to be recorded with one: so that another can tell whether it sees it. Undefined where the staging
 * does not know, or cannot say: no save fails because of that.
 */
export async function stagedHere(staging: Storage): Promise<StagedAt | undefined> {
  const area = await staging.area?.().catch(() => undefined)
  return area && { ...area, host: hostname() }
}

/**
 * Rejects with `NotHere` when the file waits in a staging that this worker does not see, for another worker that does; and once
 * none has come by for too long, with the error that says so. Such a job counts as no attempt.
 */
export async function checkStagedHere(ref: AttachmentRef, row: FencedRow, { staging, retry, now }: Ports): Promise<void> {
  const record = await row.read()
  const why = await elsewhere(ref, record, staging)
  if (!why) return
  const time = now().getTime()
  const { since, times } = record.meta.elsewhere ?? { since: now().toISOString(), times: 0 }
  const waited = time - Date.parse(since)
  const error = new UsageError('staged_elsewhere', why)
  if (waited >= retry.elsewhere && times >= offers) throw error
  const delay = Math.min((soon + waited / 4) * (0.5 + Math.random()), latest, retry.elsewhere / offers)
  await row.change(({ meta }) => ({ attemptedAt: new Date(time + delay), meta: { ...meta, elsewhere: { since, times: times + 1 } } }))
  if (times === 0) warn(`${why}. Its job waits for a worker that sees it, for ${retry.elsewhere / 1_000} s at most`)
  throw new NotHere(delay, error)
}

/** Why what is staged cannot be read here. A folder that was restored may have lost its mark: what counts is that the files are there. */
async function elsewhere({ entity, attachment }: AttachmentRef, { meta }: AttachmentRecord, staging: Storage): Promise<string | undefined> {
  const staged = stagedKeys(meta)
  const here = meta.area && staged.length > 0 ? await stagedHere(staging) : undefined
  if (!meta.area || !here || here.id === meta.area.id) return undefined
  for (const key of staged) {
    if (await staging.stat(key)) continue
    const { host, where } = meta.area
    return `${entity}.${attachment} is staged on host ${host} in ${where}, this is host ${here.host}: share the folder or stage in S3 (what this host sees is ${here.where})`
  }
  return undefined
}
