import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { formats } from '../../src/style/style'
import { hugePictures } from './huge'
import { run } from './limited'
import type { Measure } from './pixels-child'

// npm run memory:pixels: bytes per pixel at the peak, which src/processor/memory.ts counts with; each in a process of its own

const [width, height] = [8_000, 6_000]

async function main(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'attachments-pixels-'))
  try {
    const measured = async (measure: Measure) => (await run(join(__dirname, 'pixels-child.ts'), measure)).trim()
    const pictures = Object.entries(await hugePictures(folder, width, height))
    for (const [name, path] of pictures) {
      const [small, whole] = [await measured({ path, width: 800, height: 600 }), await measured({ path, width, height })]
      console.log(`read ${name}: ${small} made small, ${whole} in its own size`)
    }
    const raw = join(folder, 'photo.jpg')
    for (const format of formats) console.log(`write ${format}: ${await measured({ path: raw, width: 4_000, height: 3_000, format })}`)
    const lossless = await measured({ path: raw, width: 4_000, height: 3_000, format: 'webp', output: { lossless: true } })
    console.log(`write webp, lossless: ${lossless}`)
    const full = await measured({ path: raw, width: 4_000, height: 3_000, format: 'jpeg', output: { chromaSubsampling: '4:4:4', mozjpeg: true } })
    console.log(`write jpeg, 4:4:4: ${full}`)
  } finally {
    await rm(folder, { recursive: true })
  }
}

main()
