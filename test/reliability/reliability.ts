import { spawn } from 'node:child_process'
import { cpus } from 'node:os'

// npm run reliability: everything that proves what docs/reliability.md promises, and its figures as Markdown

const programs: ReadonlyArray<readonly [name: string, ...options: string[]]> = [
  ['simulate', '--schedules', '20000'],
  ['kill-matrix'],
  ['faults'],
  ['soak'],
]

interface Outcome {
  readonly command: string
  readonly code: number | null
  readonly seconds: number
  /** Tables and last lines of what it printed. */
  readonly figures: string
}

async function main(): Promise<void> {
  const outcomes: Outcome[] = []
  for (const [name, ...options] of programs) outcomes.push(await run(name, options))
  const [cpu] = cpus()
  console.log(`\n# Reliability, ${new Date().toISOString().slice(0, 10)}: ${cpus().length} × ${cpu?.model}, Node ${process.version}\n`)
  for (const { command, code, seconds, figures } of outcomes) {
    console.log(`## \`${command}\`: ${code === 0 ? 'passed' : `FAILED (${code})`}, ${seconds} s\n\n${figures}\n`)
  }
  process.exitCode = outcomes.every(({ code }) => code === 0) ? 0 : 1
}

function run(name: string, options: readonly string[]): Promise<Outcome> {
  const started = Date.now()
  const child = spawn('npm', ['run', '-s', name, '--', ...options], { stdio: ['ignore', 'pipe', 'inherit'] })
  let printed = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    process.stdout.write(text)
    printed += text
  })
  return new Promise((resolve) => {
    child.once('close', (code) => {
      const command = ['npm run', name, ...(options.length > 0 ? ['--', ...options] : [])].join(' ')
      resolve({ command, code, seconds: Math.round((Date.now() - started) / 1000), figures: figuresOf(printed) })
    })
  })
}

/** Tables, and what comes after the last line of progress. */
function figuresOf(printed: string): string {
  const lines = printed.trimEnd().split('\n')
  const last = lines.pop() ?? ''
  return [...lines.filter((line) => line.startsWith('|')), '', last].join('\n').trim()
}

main()
