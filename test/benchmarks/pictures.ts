import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import sharp from 'sharp'
import { animation, photo, picture } from '../support/pictures'

/** A picture to make styles of. */
export interface Original {
  readonly name: string
  readonly path: string
  readonly contentType: string
}

/** Writes those of the benchmark into a folder; `scale` makes all of them smaller. */
export async function originals(folder: string, scale = 1): Promise<Original[]> {
  const to = (side: number) => Math.round(side * scale)
  async function write(name: string, contentType: string, bytes: Promise<Buffer>): Promise<Original> {
    const path = join(folder, name.replaceAll(/\W+/g, '-'))
    await writeFile(path, await bytes)
    return { name, path, contentType }
  }
  const frames = Array.from({ length: 24 }, (_, at) =>
    sharp({ create: { width: to(640), height: to(480), channels: 3, background: '#fff' } }).composite([
      { input: disc(to(480)), left: at * to(6), top: 0 },
    ]),
  )
  return Promise.all([
    write('JPEG, 12 megapixels', 'image/jpeg', photo(to(4000), to(3000)).jpeg({ quality: 90 }).toBuffer()),
    write('JPEG, 6 megapixels', 'image/jpeg', photo(to(3000), to(2000)).jpeg({ quality: 90 }).toBuffer()),
    write('JPEG of a phone, turned', 'image/jpeg', photo(to(4000), to(3000)).withMetadata({ orientation: 6 }).jpeg({ quality: 90 }).toBuffer()),
    write('PNG with alpha, 3 megapixels', 'image/png', picture(to(2000), to(1500), 4).png().toBuffer()),
    write(
      'GIF of 24 frames',
      'image/gif',
      animation(frames).then((moving) => moving.gif().toBuffer()),
    ),
  ])
}

function disc(side: number): Buffer {
  return Buffer.from(
    `<svg xmlns="http://www.w3.org/2000/svg" width="${side}" height="${side}"><circle cx="${side / 2}" cy="${side / 2}" r="${side / 3}" fill="#c33"/></svg>`,
  )
}
