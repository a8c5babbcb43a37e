import { parseArgs } from 'node:util'
import { doesNotHelp, Ended, lineOf } from './ended'

/** Heroku and Kubernetes kill after 30 seconds. */
const defaultDrain = 25

export const help = `typeorm-attachments worker MODULE [options]

Makes the styles of saved files and moves them to the storage, until SIGTERM or SIGINT.
MODULE is the JavaScript file that exports your Attachments, and your DataSource where they are not connected.

  -d, --data-source FILE  the file that exports the DataSource, if MODULE does not
      --concurrency N     jobs of each queue at a time; as many as there are cores
      --queue NAME        takes jobs from this queue only; may be repeated
      --drain SECONDS     how long a signal to stop waits for running jobs; ${defaultDrain}
      --port N            answers GET /live and GET /ready for health checks
  -h, --help
  -v, --version

Logs JSON on standard output. Exits with 0 when it was stopped, with 1 where a restart may help, with 2 where it does not.
`

export interface WorkerOptions {
  /** As the user wrote it. */
  readonly module: string
  readonly dataSource: string | undefined
  readonly concurrency: number | undefined
  readonly queues: readonly string[] | undefined
  /** Seconds. */
  readonly drain: number
  readonly port: number | undefined
}

/** Throws `Ended` for whatever cannot be meant. */
export function parseOptions(args: readonly string[]): 'help' | 'version' | WorkerOptions {
  const { values, positionals } = parse(args)
  if (values.help) return 'help'
  if (values.version) return 'version'
  const [command, module, ...more] = positionals
  if (command !== 'worker') throw wrong(command === undefined ? 'it is not said what to do' : `there is no command '${command}'`)
  if (module === undefined) throw wrong('it is not said which file exports your Attachments')
  if (more.length > 0) throw wrong(`one file exports your Attachments, and ${more.join(', ')} is one too many`)
  return {
    module,
    dataSource: values['data-source'],
    concurrency: wholeNumber('concurrency', values.concurrency, 1),
    queues: values.queue,
    drain: wholeNumber('drain', values.drain, 0) ?? defaultDrain,
    port: wholeNumber('port', values.port, 0, 65_535),
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        'data-source': { type: 'string', short: 'd' },
        concurrency: { type: 'string' },
        queue: { type: 'string', multiple: true },
        drain: { type: 'string' },
        port: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
        version: { type: 'boolean', short: 'v' },
      },
    })
  } catch (error) {
    // what follows the first sentence is about arguments that begin with a dash
    throw wrong(lineOf(error).replace(/\. .*/, ''))
  }
}

function wholeNumber(name: string, given: string | undefined, least: number, most = 1_000_000): number | undefined {
  if (given === undefined) return undefined
  const number = Number(given)
  if (/^\d+$/.test(given) && number >= least && number <= most) return number
  throw wrong(`--${name} must be a whole number from ${least} to ${most}, not '${given}'`)
}

function wrong(what: string): Ended {
  return new Ended(`${what}. As in: typeorm-attachments worker ./dist/attachments.js --concurrency 4. --help tells more`, doesNotHelp)
}
