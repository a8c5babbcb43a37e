import { join } from 'node:path'
import type { Page } from 'playwright-core'
import sharp from 'sharp'

/** A phone, upright. */
export const phone = { width: 390, height: 844 }

/** Takes the picture of what is on a page, that the README shows, where SCREENSHOTS=1 asks for it. */
export async function screenshot(page: Page, name: string): Promise<void> {
  if (process.env['SCREENSHOTS'] !== '1') return
  const taken = await page.getByRole('main').screenshot({ animations: 'disabled' })
  await sharp(taken)
    .png({ palette: true, colours: 128, compressionLevel: 9, effort: 10 })
    .toFile(join(import.meta.dirname, '../../docs/images', `${name}.png`))
}
