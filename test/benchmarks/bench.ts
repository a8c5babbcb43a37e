import { spawn } from 'node:child_process'

// npm run bench [-- --quick]: every part, each in a process of its own

const parts = ['styles', 'save', 'worker', 'reading', 'memory', 'growth', 'queue', 'path', 'cold', 'direct', 'push']

/** Runs one part, with the options that were given to all. Whether it came to its end. */
function run(part: string): Promise<boolean> {
  console.log(`\n# npm run bench:${part}\n`)
  const child = spawn('npm', ['run', '-s', `bench:${part}`, '--', ...process.argv.slice(2)], { stdio: 'inherit' })
  return new Promise((resolve) => child.once('close', (code) => resolve(code === 0)))
}

async function main(): Promise<void> {
  const failed: string[] = []
  for (const part of parts) if (!(await run(part))) failed.push(part)
  for (const part of failed) console.log(`\nleft out: bench:${part}, which ended with an error above`)
}

main()
