#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { startAnew } from './anew'
import { Ended, lineOf, mayHelp } from './ended'
import { help, parseOptions } from './options'
import { runWorker } from './worker'

/** Gives the exit code. */
async function main(args: readonly string[]): Promise<number> {
  const options = parseOptions(args)
  if (options === 'help') process.stdout.write(help)
  else if (options === 'version') process.stdout.write(`${version()}\n`)
  else {
    const code = await startAnew()
    if (code !== undefined) return code
    await runWorker(options)
  }
  return 0
}

/** That of the package, which stands above the built command. */
function version(): string {
  return JSON.parse(readFileSync(join(__dirname, '../package.json'), 'utf8')).version
}

/** Ends, whatever the user's module holds open, when everything is written. */
function exit(code: number): void {
  process.stdout.write('', () => process.exit(code))
}

main(process.argv.slice(2)).then(exit, (error) => {
  process.stderr.write(`typeorm-attachments: ${error instanceof Ended ? error.message : lineOf(error)}\n`)
  exit(error instanceof Ended ? error.exitCode : mayHelp)
})
