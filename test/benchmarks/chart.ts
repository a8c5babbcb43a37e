import type { Figure } from './backlog'

const [width, height, left, right, top, bottom] = [720, 360, 64, 190, 24, 48]
const colours = ['#2563eb', '#dc2626', '#16a34a', '#9333ea', '#d97706']

/** Jobs per second over the backlog, both by powers of ten, a line for each engine; as SVG. */
export function chart(figures: readonly Figure[]): string {
  const engines = [...new Set(figures.map(({ engine }) => engine))]
  const [few, many] = rangeOf(figures.map(({ waiting }) => waiting))
  const [slow, fast] = rangeOf(figures.map(({ jobsPerSecond }) => jobsPerSecond))
  const x = (waiting: number) => left + ((Math.log10(waiting) - few) / (many - few)) * (width - left - right)
  const y = (rate: number) => height - bottom - ((Math.log10(rate) - slow) / (fast - slow)) * (height - top - bottom)
  const rows = powers(slow, fast).map(
    (rate) =>
      `<path stroke="#ddd" d="M${left},${y(rate)} H${width - right}"/><text x="${left - 8}" y="${y(rate) + 4}" text-anchor="end">${printed(rate)}</text>`,
  )
  const columns = [...new Set(figures.map(({ waiting }) => waiting))].map(
    (waiting) => `<text x="${x(waiting)}" y="${height - bottom + 20}" text-anchor="middle">${printed(waiting)}</text>`,
  )
  const lines = engines.map((engine, at) => {
    const own = figures.filter((figure) => figure.engine === engine)
    const points = own.map(({ waiting, jobsPerSecond }) => `${x(waiting).toFixed(1)},${y(jobsPerSecond).toFixed(1)}`)
    const colour = colours[at % colours.length]
    const last = own.at(-1)
    return [
      `<polyline fill="none" stroke="${colour}" stroke-width="2.5" points="${points.join(' ')}"/>`,
      ...points.map((point) => `<circle cx="${point.split(',')[0]}" cy="${point.split(',')[1]}" r="4" fill="${colour}"/>`),
      `<text x="${width - right + 12}" y="${y(last?.jobsPerSecond ?? 1) + 4}" fill="${colour}">${engine}</text>`,
    ].join('')
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="13" fill="#444">
<title>Jobs per second, with so many waiting</title>
<rect width="${width}" height="${height}" fill="#fff"/>
<text x="${left}" y="${top - 8}">jobs per second</text>
<text x="${(left + width - right) / 2}" y="${height - 8}" text-anchor="middle">jobs waiting</text>
${[...rows, ...columns, ...lines].join('\n')}
</svg>
`
}

/** The powers of ten between which all of them lie. */
function rangeOf(values: readonly number[]): [number, number] {
  const logs = values.map((value) => Math.log10(Math.max(value, 1)))
  return [Math.floor(Math.min(...logs)), Math.max(Math.ceil(Math.max(...logs)), Math.floor(Math.min(...logs)) + 1)]
}

function powers(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, at) => 10 ** (from + at))
}

function printed(value: number): string {
  return value.toLocaleString('en')
}
