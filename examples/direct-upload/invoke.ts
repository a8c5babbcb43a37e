import { resolve } from 'node:path'
import { text } from 'node:stream/consumers'

// invoke.ts MODULE: calls the function with the event on standard input, and ends with it

async function invoke(): Promise<void> {
  const [module = ''] = process.argv.slice(2)
  const [event, { handler }] = await Promise.all([text(process.stdin), import(resolve(module))])
  await handler(JSON.parse(event))
}

invoke().then(
  () => process.exit(0),
  (error) => {
    console.error(error)
    process.exit(1)
  },
)
