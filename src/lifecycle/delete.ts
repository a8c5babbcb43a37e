import type { DeleteJob, VersionFiles } from '../background/job'
import type { Ports } from './ports'

/** Deletes all files of one version, wherever they are. */
export async function deleteFiles({ storage, keys, staged }: VersionFiles, ports: Pick<Ports, 'staging' | 'storage'>): Promise<void> {
  await ports.storage(storage).delete(keys)
  await ports.staging.delete(staged)
}

/** Deletes what was detached or removed, unless the row turns out to refer to it after all: its transaction did not hold. */
export async function deleteLeft(job: DeleteJob, ports: Ports): Promise<void> {
  const record = await ports.rows.read({ entity: job.entity, id: job.id, attachment: job.attachment })
  const kept = new Set([record?.version, ...(record?.meta.previous ?? []).map(({ version }) => version)])
  for (const files of job.files) {
    if (!kept.has(files.version)) await deleteFiles(files, ports)
  }
}
