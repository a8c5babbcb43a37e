import sharp from 'sharp'

/** What a landscape is painted in. */
interface Scene {
  readonly sky: readonly [top: string, middle: string, horizon: string]
  /** Its hills, the farthest first. */
  readonly hills: readonly string[]
  readonly sun: readonly [x: number, y: number, colour: string]
}

const scenes: Readonly<Record<string, Scene>> = {
  evening: { sky: ['#21365f', '#b0708f', '#ffd29a'], hills: ['#96799a', '#5c5480', '#2f3558', '#131d30'], sun: [0.66, 0.5, '#fff3cf'] },
  morning: { sky: ['#8fc7e8', '#d8e9ee', '#fdf0d5'], hills: ['#b9d3c2', '#7fae90', '#4a8264', '#1f4d3a'], sun: [0.28, 0.36, '#fffbe6'] },
  desert: { sky: ['#3d8fc4', '#a6d4e6', '#f6e3c2'], hills: ['#e9b97d', '#d9924f', '#b66a33', '#7c3f1d'], sun: [0.78, 0.2, '#fff7d6'] },
  fjord: { sky: ['#394f66', '#8097a8', '#cfd6d6'], hills: ['#9fb0b8', '#6d8390', '#415866', '#1d2b35'], sun: [0.42, 0.42, '#f4f4ea'] },
  night: { sky: ['#080c22', '#182250', '#3a3f7d'], hills: ['#2b3068', '#1d214b', '#121533', '#080a1c'], sun: [0.72, 0.22, '#eef0ff'] },
  autumn: { sky: ['#6f9bc4', '#c9d7de', '#fbe3b8'], hills: ['#d9a441', '#c26a2a', '#8e3b20', '#421d18'], sun: [0.2, 0.3, '#fff4d0'] },
}

/** A landscape that is nice to look at, as a JPEG. The same every time. */
export function scene(name: string, width: number, height: number): Promise<Buffer> {
  const { sky, hills, sun } = scenes[name] as Scene
  const stops = sky.map((colour, index) => `<stop offset="${index * 0.33}" stop-color="${colour}"/>`)
  const ranges = hills.map((colour, index) => `<path fill="${colour}" d="M0,${height} ${ridge(index, width, height)} L${width},${height} Z"/>`)
  const [x, y, light] = sun
  const radius = Math.min(width, height) * 0.07
  const at = `cx="${x * width}" cy="${y * height}"`
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">
    <defs>
      <linearGradient id="sky" x2="0" y2="1">${stops.join('')}</linearGradient>
      <radialGradient id="glow"><stop offset=".15" stop-color="${light}" stop-opacity=".8"/><stop offset="1" stop-color="${light}" stop-opacity="0"/></radialGradient>
    </defs>
    <rect width="100%" height="100%" fill="url(#sky)"/>
    <circle ${at} r="${radius * 4}" fill="url(#glow)"/><circle ${at} r="${radius}" fill="${light}"/>
    ${ranges.join('')}</svg>`
  return sharp(Buffer.from(svg)).jpeg({ quality: 85 }).toBuffer()
}

/** The outline of a range of hills: the nearer, the lower. */
function ridge(index: number, width: number, height: number): string {
  const points = Array.from({ length: 61 }, (_, step) => {
    const x = step / 60
    const wave = Math.sin(x * 5 + index * 2.1) + 0.5 * Math.sin(x * 13 + index * 6.3) + 0.2 * Math.sin(x * 41 + index * 10)
    return `L${Math.round(x * width)},${Math.round(height * (0.55 + index * 0.12 - 0.05 * wave))}`
  })
  return points.join(' ')
}
