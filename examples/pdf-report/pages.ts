import type { Report } from './report'

/** The form, and what was ordered last. */
export function home(reports: readonly Report[]): string {
  const items = reports.map(({ id, title, pages }) => `<li><a href="/reports/${id}">${text(title)}</a>, ${pages} pages</li>`)
  return page(
    'Reports',
    `
    <form method="post" action="/reports">
      <label>Title <input name="title" value="Harvest" required></label>
      <label>Pages <input name="pages" type="number" value="200" min="1" max="2000" required></label>
      <button>Make a PDF</button>
    </form>
    <ul>${items.join('')}</ul>`,
  )
}

/** One report. What becomes of it, page.mjs puts in. */
export function single({ title, pages, state }: Report): string {
  return page(
    title,
    `
    <p>${pages} pages</p>
    <div class="card">
      <p role="status" id="status">${state === 'rendering' ? 'Being rendered …' : 'One moment …'}</p>
      <progress id="bar" aria-label="${text(title)}"></progress>
      <a id="link" class="button" hidden>Save the PDF</a>
    </div>
    <p><a href="/">All reports</a></p>
    <script type="module" src="/page.mjs"></script>`,
  )
}

function page(title: string, body: string): string {
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>${text(title)}</title>
    <link rel="icon" href="data:,">
    <link rel="stylesheet" href="/page.css">
  </head>
  <body>
    <main>
    <h1>${text(title)}</h1>${body}
    </main>
  </body>
</html>`
}

/** Text as HTML shows it. */
function text(value: string): string {
  return value.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
