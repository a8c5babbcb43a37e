import * as echarts from 'echarts'

interface Drawn {
  readonly title: string
  /** What the values are, such as `ms`. */
  readonly unit: string
  /** Powers of ten at equal distances: for values that differ by more than one. */
  readonly logarithmic?: boolean
}

/** A group of bars for each case; null where a contender was left out. */
export interface Bars extends Drawn {
  readonly cases: readonly string[]
  readonly contenders: ReadonlyArray<{ readonly name: string; readonly values: ReadonlyArray<number | null> }>
}

/** A line for each contender; both axes by powers of ten. */
export interface Lines extends Drawn {
  /** What stands below. */
  readonly along: string
  readonly contenders: ReadonlyArray<{ readonly name: string; readonly points: ReadonlyArray<readonly [number, number]> }>
}

const width = 860
const palette = ['#2563eb', '#0891b2', '#16a34a', '#d97706', '#dc2626', '#9333ea', '#64748b']
const text = { fontFamily: 'sans-serif', color: '#444' }

/** As SVG. */
export function barChart({ title, unit, logarithmic, cases, contenders }: Bars): string {
  const height = 130 + cases.length * (18 + contenders.length * 16)
  return svg(height, {
    title: { text: title },
    grid: { left: 240, right: 70, top: 78, bottom: 46 },
    yAxis: { type: 'category', data: [...cases], inverse: true, axisTick: { show: false } },
    xAxis: { type: logarithmic ? 'log' : 'value', name: unit, nameLocation: 'middle', nameGap: 26 },
    series: contenders.map(({ name, values }) => ({
      name,
      type: 'bar',
      barGap: '10%',
      data: [...values],
      label: { show: true, position: 'right', formatter: ({ value }: { value: unknown }) => printed(Number(value)) },
    })),
  })
}

/** As SVG. */
export function lineChart({ title, unit, along, contenders }: Lines): string {
  return svg(400, {
    title: { text: title },
    grid: { left: 70, right: 50, top: 86, bottom: 46 },
    xAxis: { type: 'log', name: along, nameLocation: 'middle', nameGap: 28, axisLabel: { formatter: printed } },
    yAxis: { type: 'log', name: unit, axisLabel: { formatter: printed } },
    series: contenders.map(({ name, points }) => ({ name, type: 'line', symbolSize: 8, data: points.map((point) => [...point]) })),
  })
}

function svg(height: number, option: echarts.EChartsCoreOption & { title: { text: string } }): string {
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width, height })
  try {
    const title = { ...option.title, left: 'center', top: 8, textStyle: { ...text, fontSize: 15 } }
    const legend = { top: 38, itemGap: 14, textStyle: text }
    chart.setOption({ animation: false, backgroundColor: '#fff', color: palette, textStyle: text, legend, ...option, title })
    // for whoever cannot see it
    return `${chart.renderToSVGString().replace('>', ` role="img"><title>${option.title.text}</title>`)}\n`
  } finally {
    chart.dispose()
  }
}

/** With as many digits as can be read. */
export function printed(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2
  return value.toLocaleString('en', { maximumFractionDigits: digits })
}
