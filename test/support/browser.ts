import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { afterAll, inject, onTestFinished } from 'vitest'

/**
 * What opens pages in a headless Chromium. Called once by a test file: the first page starts the browser, the end of the file
 * ends it. Each page has cookies and a cache of its own, and is closed when its test ends.
 */
export function browserPages(): (options?: BrowserContextOptions) => Promise<Page> {
  let browser: Promise<Browser> | undefined
  afterAll(async () => (await browser)?.close())
  return async (options) => {
    // root may start it without its sandbox only, and there need not be a graphics card; names of files are in UTF-8, also where
    // nobody has set a locale
    const env = { ...process.env, LC_ALL: 'C.UTF-8' } as Record<string, string>
    browser ??= chromium.launch({ executablePath: inject('chromium') as string, args: ['--no-sandbox', '--disable-gpu'], env })
    const context = await (await browser).newContext(options)
    onTestFinished(() => context.close())
    return context.newPage()
  }
}
