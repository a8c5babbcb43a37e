import type { Photo } from './photo'

type Picture = Photo['picture']

/** The form, and what was uploaded last. Each picture has its own shape, and room for it before it is there. */
export async function gallery(photos: readonly Photo[]): Promise<string> {
  const items = photos.map(
    async ({ id, picture }) => `
      <li style="--ratio: ${(picture.width ?? 1) / (picture.height ?? 1)}" ${watched(picture, 'tile')}>
        <a class="picture" href="/photos/${id}">${await tile(picture)}</a>${bar(picture)}
      </li>`,
  )
  const waiting = photos.filter(({ picture }) => picture.processing).length
  return page(`
    <h1>Photos</h1>
    <form method="post" action="/photos" enctype="multipart/form-data">
      <label for="pictures">Pictures</label>
      <input type="file" id="pictures" name="pictures" accept="image/*" multiple required>
      <button>Upload</button>
    </form>
    <p role="status" id="status">${waiting > 0 ? `Yet to come: ${waiting}` : ''}</p>
    <ul class="gallery" aria-label="Latest photos">${(await Promise.all(items)).join('')}</ul>`)
}

/** One picture, as large as there is room. */
export async function single({ id, picture }: Photo): Promise<string> {
  const { width, height, fileSize } = picture
  return page(
    `
    <p><a href="/">All photos</a></p>
    <h1>${nameOf(picture)}</h1>
    <div class="single" ${watched(picture, 'photo')}><div class="picture">${await photo(picture)}</div>${bar(picture)}</div>
    <p role="status" id="status"></p>
    <p>${width} × ${height} pixels, ${Math.ceil((fileSize ?? 0) / 1024)} KB. <a id="original" href="/photos/${id}/original">Save the original</a></p>`,
    nameOf(picture),
  )
}

export const tile = (picture: Picture) => shown(picture, '(max-width: 40rem) 90vw, 24rem')
export const photo = (picture: Picture) => shown(picture, '(max-width: 62rem) 94vw, 60rem')

/** A picture in whatever state: its placeholder, then what a browser chooses from, or why there is none. */
async function shown(picture: Picture, sizes: string): Promise<string> {
  const alt = picture.fileName ?? ''
  if (picture.error) return `<span class="problem">${nameOf(picture)} could not be processed: ${picture.error.code}</span>`
  return picture.picture({ alt, sizes, urls: await picture.signedUrls({ stable: true }) })
}

/** What page.mjs reads: by which token it watches, and which view it is to show. */
function watched(picture: Picture, view: 'tile' | 'photo'): string {
  if (picture.processing) return `data-state="processing" data-view="${view}" data-token="${picture.watchToken()}"`
  return `data-state="${picture.error ? 'failed' : 'processed'}"`
}

function bar(picture: Picture): string {
  return picture.processing ? `<progress max="1" aria-label="${nameOf(picture)}"></progress>` : ''
}

export function failed(words: string): string {
  return page(`<h1>Sorry</h1><p id="problem">${text(words)}</p><p><a href="/">All photos</a></p>`, 'Sorry')
}

function page(body: string, title = 'Photos'): string {
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>${title}</title>
    <link rel="icon" href="data:,">
    <link rel="stylesheet" href="/page.css">
    <script type="module" src="/page.mjs"></script>
  </head>
  <body>
    <main>${body}
    </main>
  </body>
</html>`
}

/** What a picture is called, as HTML shows it. */
const nameOf = ({ fileName }: Picture) => text(fileName ?? '')

function text(value: string): string {
  return value.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
