import { attachments } from './flood-attachments'

// started by flood-worker.ts: a program of somebody's own, instead of the command, with a log like that

const say = (message: string, fields: object = {}) => console.log(JSON.stringify({ message, ...fields }))

async function main(): Promise<void> {
  const worker = await (await attachments).work({
    concurrency: Number(process.argv[2]),
    onJob: ({ job: { kind }, result, error }) => say(`job ${result}`, { kind, error }),
  })
  say('started')
  process.once('SIGTERM', () => worker.stop().then(() => process.exit()))
}

main()
