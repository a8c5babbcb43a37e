import { execFile } from 'node:child_process'
import { chmod, readdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import sharp from 'sharp'
import { expect, inject, it, onTestFinished } from 'vitest'
import { Document } from '../examples/direct-upload/document'
import { CreatePhotoAndDocument1796053975310 } from '../examples/direct-upload/migration'
import { Photo as UploadedPhoto } from '../examples/direct-upload/photo'
import { CreateReport1795277974872 } from '../examples/pdf-report/migration'
import { Report } from '../examples/pdf-report/report'
import { end, path, start } from '../examples/services/procfile'
import { CreatePhoto1795277973311 } from '../examples/web-and-worker/migration'
import { Photo } from '../examples/web-and-worker/photo'
import { scripts } from '../package.json'
import { serversFor } from './support/app'
import { picture } from './support/pictures'
import { database, folder } from './support/world'

const root = join(__dirname, '..')

/** Runs an example against the built package, in a folder of its own. */
async function run(example: string, args: string[], cwd: string): Promise<{ code: number; output: string }> {
  // as root, the embedded PostgreSQL runs as somebody else, who has to reach the temporary folder
  await chmod(cwd, 0o755)
  const tsx = pathToFileURL(require.resolve('tsx')).href
  const env = { PATH: process.env['PATH'], HOME: cwd, TMPDIR: cwd, TSX_TSCONFIG_PATH: join(root, 'tsconfig.json') }
  const ended = promisify(execFile)(process.execPath, ['--import', tsx, join(root, 'examples', example), ...args], {
    cwd,
    env,
    timeout: 25_000,
    killSignal: 'SIGKILL',
  })
  return ended.then(
    ({ stdout, stderr }) => ({ code: 0, output: stdout + stderr }),
    ({ code, stdout, stderr }) => ({ code, output: stdout + stderr }),
  )
}

it('the demo tells its story, leaves the thumbnails and nothing else', async () => {
  const cwd = await folder()
  const photo = await picture(640, 480).withMetadata({ orientation: 6 }).jpeg().toBuffer()
  await writeFile(join(cwd, 'photo.jpg'), photo)
  const { code, output } = await run('demo/main.ts', ['photo.jpg'], cwd)
  expect(output).toMatch(
    /640 × 480, EXIF orientation 6[\s\S]*processing +true[\s\S]*thumb +100 × 100[\s\S]*processing +false[\s\S]*200 OK, image\/jpeg/,
  )
  expect(code).toBe(0)
  const thumbnails = await readdir(join(cwd, 'thumbnails'))
  expect(thumbnails.sort()).toEqual(['large.jpg', 'medium.jpg', 'small.jpg', 'thumb.jpg', 'tiny.jpg'])
  expect(await sharp(join(cwd, 'thumbnails', 'medium.jpg')).metadata()).toMatchObject({ width: 225, height: 300 })
  expect((await readdir(cwd)).filter((name) => name.startsWith('attachments-'))).toEqual([])
})

it('the demo says in a sentence what is wrong with its picture', async () => {
  const cwd = await folder()
  await writeFile(join(cwd, 'notes.txt'), 'no picture')
  const { code, output } = await run('demo/main.ts', ['notes.txt'], cwd)
  expect(code).toBe(1)
  expect(output).toContain("does not take text/plain, which 'notes.txt' is by its bytes")
  expect(output).not.toContain('    at ')
})

/** Starts an example by its npm script, and gathers what it says until it can be opened or has ended. */
async function launch(script: keyof typeof scripts, flags: string, config: NodeJS.ProcessEnv) {
  const home = await folder()
  const command = scripts[script].replace('npm run -s build && ', '') + flags
  const said: string[] = []
  const child = start(command, root, { PATH: path, HOME: home, TMPDIR: home, ...config }, (line) => said.push(line))
  onTestFinished(async () => void (await end(child, 'SIGTERM')))
  await expect.poll(() => `${said.join('\n')}\nended: ${child.exitCode}`, { timeout: 120_000 }).toMatch(/Open http|ended: \d/)
  return { child, said }
}

it.each([
  ['example:web-and-worker', ' --postgres'],
  ['example:pdf-report', ''],
  ['example:direct-upload', ''],
] as const)(
  'npm run %s%s starts the processes of an app, and ends them on Ctrl-C',
  async (script, flags) => {
    const { config } = await serversFor()
    // events come from a server of its own, where it can start one
    const { S3_ENDPOINT, ...ownServer } = config
    const { child, said } = await launch(script, flags, script === 'example:direct-upload' && inject('s3').sendsEvents ? ownServer : config)
    const [address = ''] = /http:\S+/.exec(said.find((line) => line.startsWith('Open')) ?? '') ?? []
    expect((await fetch(address)).status).toBe(200)
    expect(await end(child, 'SIGINT')).toBe(0)
    await expect(fetch(address)).rejects.toThrow()
  },
  240_000,
)

it('npm run example:direct-upload says what is missing where no S3 server sends events', async () => {
  const { config } = await serversFor()
  const { S3_ENDPOINT, ...others } = config
  const programs = await folder()
  // the broker runs as somebody else
  await chmod(programs, 0o755)
  for (const program of ['node', 'sh', 'env', 'cat', 'id', 'kill', 'rm', 'rmdir', 'sleep']) {
    const { stdout } = await promisify(execFile)('/bin/sh', ['-c', `command -v ${program}`])
    await symlink(stdout.trim(), join(programs, program))
  }
  const { child, said } = await launch('example:direct-upload', '', { ...others, PATH: programs })
  expect(child.exitCode).toBe(1)
  expect(said.join('\n')).toContain('install radosgw, ceph-mon, ceph-osd, ceph-common and curl, or set S3_ENDPOINT')
})

it.each([
  ['web-and-worker', [Photo], CreatePhoto1795277973311],
  ['pdf-report', [Report], CreateReport1795277974872],
  ['direct-upload', [UploadedPhoto, Document], CreatePhotoAndDocument1796053975310],
] as const)('the migration of %s makes what its entities declare', async (_, entities, migration) => {
  const dataSource = await database([...entities], { synchronize: false, migrations: [migration], migrationsRun: true })
  const { upQueries } = await dataSource.driver.createSchemaBuilder().log()
  expect(upQueries).toEqual([])
})
