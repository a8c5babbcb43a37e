import type { Photo } from './photo'

/** For how long the addresses of pictures work. Seconds. */
const expiresIn = 600

/** The form, and what was uploaded last. */
export async function landing(photos: readonly Photo[]): Promise<string> {
  const thumbs = photos.map(async ({ id, picture }) => {
    const url = await picture.signedUrl('thumb', { expiresIn })
    const shown =
      picture.processing || picture.error || !url ? `<span>${picture.error ? 'failed' : 'processing'}</span>` : `<img src="${text(url)}" alt="">`
    return `<a href="/photos/${id}">${shown}</a>`
  })
  return page(`
    <h1>Photos</h1>
    <form method="post" action="/photos" enctype="multipart/form-data">
      <input type="file" name="picture" accept="image/*" required aria-label="Picture">
      <button>Upload</button>
    </form>
    <div class="photos">${(await Promise.all(thumbs)).join('\n')}</div>`)
}

/** What has become of an upload. It asks again by itself as long as that is not known. */
export async function result({ picture }: Photo): Promise<string> {
  const name = text(picture.fileName ?? '')
  if (picture.processing) {
    return page(
      `<h1>${name}</h1><p id="state" data-state="processing">Your picture is safe, and is being processed.</p>`,
      '<meta http-equiv="refresh" content="1">',
    )
  }
  if (picture.error) {
    const { code, message } = picture.error
    return page(`<h1>${name}</h1><p id="state" data-state="failed">This picture could not be processed.</p><pre>${code}: ${text(message)}</pre>`)
  }
  const [large, thumb] = await Promise.all([picture.signedUrl('large', { expiresIn }), picture.signedUrl('thumb', { expiresIn })])
  const original = await picture.signedUrl('original', { expiresIn, fileName: picture.fileName ?? undefined })
  return page(`
    <h1>${name}</h1>
    <p id="state" data-state="done">
      ${picture.width} × ${picture.height} pixels, ${((picture.fileSize ?? 0) / 1024 / 1024).toFixed(1)} MB.
      <a id="original" href="${text(original ?? '')}">Save the original</a>
    </p>
    <img id="large" src="${text(large ?? '')}" alt="">
    <p><img id="thumb" src="${text(thumb ?? '')}" alt="" width="150"></p>`)
}

export function failed(words: string): string {
  return page(`<h1>Sorry</h1><p id="state" data-state="refused">${text(words)}</p>`)
}

function page(body: string, head = ''): string {
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width">
    <title>Photos</title>
    ${head}
    <style>
      body { max-width: 44rem; margin: 3rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; color: #223; background: #fafaf7 }
      h1 { font-size: 1.5rem; overflow-wrap: anywhere }
      form { padding: 1rem; border: 1px solid #ccd; border-radius: .5rem; background: #fff }
      button { padding: .4rem 1rem; border: 0; border-radius: .3rem; color: #fff; background: #245; font: inherit; cursor: pointer }
      img { max-width: 100%; border-radius: .3rem; vertical-align: top }
      pre { white-space: pre-wrap }
      .photos { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: .5rem; margin-top: 1rem }
      .photos span { display: grid; place-items: center; aspect-ratio: 1; border-radius: .3rem; background: #e8e8e2 }
      [data-state=processing]::before { content: '◌ ' }
    </style>
  </head>
  <body>
    ${body}
    <p><a href="/">All photos</a></p>
  </body>
</html>`
}

/** Text as HTML shows it. */
function text(value: string): string {
  return value.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
