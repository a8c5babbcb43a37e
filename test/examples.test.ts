import { execFile } from 'node:child_process'
import { chmod, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import sharp from 'sharp'
import { expect, it } from 'vitest'
import { picture } from './support/pictures'
import { folder } from './support/world'

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
