import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import PDFDocument from 'pdfkit'
import type { Report } from './report'

/** Bytes that may wait to be read. */
const enough = 256 * 1024

/** A report as a PDF, page by page while it is read. */
export function render(report: Pick<Report, 'title' | 'pages'>): Readable {
  const pdf = new PDFDocument({ size: 'A4', autoFirstPage: false, info: { Title: report.title } })
  write(pdf, report).catch((error) => pdf.destroy(error))
  return pdf
}

async function write(pdf: PDFKit.PDFDocument, { title, pages }: Pick<Report, 'title' | 'pages'>): Promise<void> {
  for (let page = 1; page <= pages; page++) {
    pdf.addPage().fontSize(18).text(`${title}, page ${page} of ${pages}`).moveDown().fontSize(10)
    for (let row = 1; row <= 40; row++) pdf.text(`${page}.${row}`.padEnd(12) + '•'.repeat((page * row) % 60))
    // pdfkit itself would not wait for whoever reads, nor let anything else run meanwhile
    await sleep(pdf.readableLength > enough ? 100 : 0)
    if (pdf.destroyed) return
  }
  pdf.end()
}
