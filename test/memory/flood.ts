import { parseArgs } from 'node:util'
import { flooded, limit } from './flooded'

// npm run flood: huge pictures wait for a worker that has 512 MB; ends with 1 when it does not live through them.
// With --program the worker is no command, but a program of somebody's own.

const options = {
  pictures: { type: 'string', default: '42' },
  concurrency: { type: 'string', default: '8' },
  program: { type: 'boolean', default: false },
} as const

async function main(): Promise<void> {
  const { values } = parseArgs({ options })
  console.log(`${values.pictures} pictures of 60 megapixels, ${values.concurrency} jobs at a time`)
  const { done, before, peak, errors, ended, seconds, pictures, held } = await flooded(Number(values.pictures), values)
  const [idle, most] = [before, peak].map((bytes) => Math.round(bytes / 2 ** 20))
  console.log(`${done} done in ${seconds} s; ${most} MiB at the peak, ${idle} MiB before the first picture; held to 512 MB ${held}`)
  for (const message of errors) console.log(message)
  if (ended !== 0) console.log(`it ended with ${ended}`)
  if (done < pictures || peak > limit || ended !== 0) process.exitCode = 1
}

main()
