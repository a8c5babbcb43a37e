import { rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'rolldown'
import type { Mutation } from './mutations'
import type { Lifecycle } from './world'

/** The lifecycle with a bug in it. Rejects when the source has changed and the bug cannot be planted any more. */
export async function mutate({ name, file, find, replace }: Mutation): Promise<Lifecycle> {
  let planted = false
  const plant = {
    name: 'plant',
    transform(code: string, id: string) {
      if (!id.endsWith(`/src/lifecycle/${file}`)) return null
      planted = code.includes(find)
      return code.replace(find, () => replace)
    },
  }
  const output = join(tmpdir(), `lifecycle-${process.pid}-${Math.random().toString(36).slice(2)}.cjs`)
  await build({
    input: join(__dirname, 'lifecycle.ts'),
    platform: 'node',
    external: [/^node:/, 'sharp'],
    plugins: [plant],
    output: { file: output, format: 'cjs', codeSplitting: false },
    logLevel: 'silent',
  })
  try {
    if (!planted) throw new Error(`the bug '${name}' cannot be planted any more: src/lifecycle/${file} does not hold its text`)
    return createRequire(__filename)(output) as Lifecycle
  } finally {
    await rm(output, { force: true })
  }
}
