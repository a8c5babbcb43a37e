import { basename } from 'node:path'
import { buffer } from 'node:stream/consumers'
import sharp from 'sharp'
import { fromPath } from 'typeorm-attachments'

/** An upload, as a web framework hands it over: of the picture at a path, or of one that is painted now. */
export async function upload(path: string | undefined): Promise<{ buffer: Buffer; originalname: string }> {
  if (path === undefined) return { buffer: await photo(), originalname: 'evening.jpg' }
  return { buffer: await buffer(await fromPath(path).open()), originalname: basename(path) }
}

/** Width × height as they are stored, and the EXIF orientation; null for what is no picture. */
export async function look(picture: Uint8Array): Promise<{ pixels: string; orientation: number } | null> {
  // sharp throws for no bytes at all, and rejects for the wrong ones
  const found = await Promise.resolve(picture)
    .then((bytes) => sharp(bytes).metadata())
    .catch(() => null)
  return found && { pixels: `${found.width} × ${found.height}`, orientation: found.orientation ?? 1 }
}

/** What comes from a camera that was held upright: 4000 × 3000 pixels that lie on their side, and a note to turn them. */
async function photo(): Promise<Buffer> {
  const lying = `<svg xmlns="http://www.w3.org/2000/svg" width="4000" height="3000"><g transform="translate(0 3000) rotate(-90)">${hills()}</g></svg>`
  const noise = { type: 'gaussian', mean: 128, sigma: 22 } as const
  const grain = sharp({ create: { width: 1000, height: 1000, channels: 3, background: '#808080', noise } })
  return sharp(Buffer.from(lying))
    .composite([{ input: await grain.png({ compressionLevel: 0 }).toBuffer(), tile: true, blend: 'soft-light' }])
    .jpeg({ quality: 90 })
    .withMetadata({ orientation: 6 })
    .toBuffer()
}

/** Evening over six ranges of hills, 3000 wide and 4000 high, as SVG. */
function hills(): string {
  const colours = ['#c39aa3', '#96799a', '#6c6088', '#474a70', '#2a3655', '#131d30']
  const ranges = colours.map((colour, index) => {
    const heightAt = ridge(index)
    const line = every(20, 3000).map((x) => `${x},${heightAt(x)}`)
    const wood = index < 4 ? [] : every(60 + index * 6, 3000).map((x) => pine(x, heightAt(x), 40 + 60 * (index - 3) * (1 + Math.sin(x * 7)) ** 0.5))
    return `<path fill="${colour}" d="M0,4000 L${line.join(' ')} L3000,4000 Z ${wood.join(' ')}"/>`
  })
  const birds = [0, 1, 2, 3, 4].map((n) => `M${780 + n * 130},${1180 + ((n * 83) % 190)} q35,-45 60,0 q30,-45 65,-5`)
  return `
    <defs>
      <linearGradient id="sky" x2="0" y2="1">
        <stop offset="0" stop-color="#21365f"/><stop offset=".25" stop-color="#75699f"/>
        <stop offset=".42" stop-color="#ef9f8b"/><stop offset=".55" stop-color="#ffdca6"/>
      </linearGradient>
      <radialGradient id="glow"><stop offset=".2" stop-color="#fff3cf"/><stop offset="1" stop-color="#ffdca6" stop-opacity="0"/></radialGradient>
    </defs>
    <rect width="3000" height="4000" fill="url(#sky)"/>
    <circle cx="2000" cy="1650" r="900" fill="url(#glow)"/><circle cx="2000" cy="1650" r="210" fill="#fffaea"/>
    <path fill="none" stroke="#33335a" stroke-width="12" stroke-linecap="round" d="${birds.join(' ')}"/>
    ${ranges.join('')}`
}

/** The outline of a range: the nearer, the lower and the rougher. */
function ridge(index: number): (x: number) => number {
  const [base, phase, rough] = [1950 + index * 300, index * 2.1, 90 + index * 12]
  const wave = (x: number) => Math.sin(x / 610 + phase) + 0.5 * Math.sin(x / 233 + phase * 3) + 0.18 * Math.sin(x / 71 + phase * 5)
  return (x) => Math.round(base - rough * wave(x))
}

function pine(x: number, y: number, height: number): string {
  const [tall, wide] = [Math.round(height), Math.round(height * 0.3)]
  return `M${x - wide},${y + 20} L${x},${y - tall} L${x + wide},${y + 20} Z`
}

function every(step: number, width: number): number[] {
  return Array.from({ length: Math.floor(width / step) + 1 }, (_, index) => index * step)
}
