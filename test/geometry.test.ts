import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { applyGeometry, type Modifier, parseGeometry } from '../src/style/geometry'

/** `[geometry, source, result]`, and where a `#` cuts: `[width, height, left, top]`. Worked out by hand from PAPERCLIP.md. */
type Case = [geometry: string, source: [number, number], result: [number, number], crop?: [number, number, number, number]]

describe('a geometry gives the size that Paperclip and ImageMagick give', () => {
  const cases: Case[] = [
    // inside the box, enlarging too
    ['100x100', [400, 300], [100, 75]],
    ['100x100', [300, 400], [75, 100]],
    ['200x50', [400, 300], [67, 50]],
    ['400x300', [400, 300], [400, 300]],
    ['800x800', [400, 300], [800, 600]],
    ['100x100', [1, 1], [100, 100]],
    ['1x1', [400, 300], [1, 1]],
    ['3x3', [1000, 1], [3, 1]],
    ['1x100', [2000, 3], [1, 1]],
    ['100X50', [400, 300], [67, 50]],
    [' 100x100 ', [400, 300], [100, 75]],

    // one side, the other follows
    ['200', [400, 300], [200, 150]],
    ['200x', [400, 300], [200, 150]],
    ['x150', [400, 300], [200, 150]],
    ['800', [400, 300], [800, 600]],
    ['x600', [400, 300], [800, 600]],
    ['100', [300, 100], [100, 33]],
    ['100', [300, 200], [100, 67]],

    // halves go up, and no side is lost
    ['75', [200, 100], [75, 38]],
    ['50', [100, 49], [50, 25]],
    ['x25', [75, 50], [38, 25]],
    ['50', [100, 1], [50, 1]],
    ['25', [100, 1], [25, 1]],
    ['25%', [10, 6], [3, 2]],
    ['12.5%', [20, 12], [3, 2]],

    // > only makes smaller
    ['300x300>', [400, 300], [300, 225]],
    ['800x800>', [400, 300], [400, 300]],
    ['400x300>', [400, 300], [400, 300]],
    ['800x200>', [400, 300], [267, 200]],
    ['300x300>', [300, 301], [299, 300]],
    ['200>', [400, 300], [200, 150]],
    ['200x>', [400, 300], [200, 150]],
    ['500>', [400, 300], [400, 300]],
    ['x150>', [400, 300], [200, 150]],
    ['x400>', [400, 300], [400, 300]],
    ['800x800&>', [1600, 1200], [800, 600]],
    ['800x800&gt;', [1600, 1200], [800, 600]],
    ['800X800&GT;', [400, 300], [400, 300]],

    // < only makes larger, and only what is smaller on both sides
    ['800x800<', [400, 300], [800, 600]],
    ['800x200<', [400, 300], [400, 300]],
    ['400x800<', [400, 300], [400, 300]],
    ['100x100<', [400, 300], [400, 300]],
    ['800<', [400, 300], [800, 600]],
    ['400<', [400, 300], [400, 300]],
    ['x600<', [400, 300], [800, 600]],
    ['x200<', [400, 300], [400, 300]],

    // ! exactly
    ['100x100!', [400, 300], [100, 100]],
    ['800x10!', [400, 300], [800, 10]],
    ['100!', [400, 300], [100, 300]],
    ['100x!', [400, 300], [100, 300]],
    ['x100!', [400, 300], [400, 100]],

    // ^ around the box, nothing cut
    ['100x100^', [400, 300], [133, 100]],
    ['800x100^', [400, 300], [800, 600]],
    ['600x600^', [400, 300], [800, 600]],
    ['100^', [400, 300], [133, 100]],
    ['100^', [300, 400], [100, 133]],
    ['100x^', [400, 300], [133, 100]],
    ['x100^', [400, 300], [133, 100]],

    // % of each side
    ['50%', [400, 300], [200, 150]],
    ['150%', [400, 300], [600, 450]],
    ['50x25%', [400, 300], [200, 75]],
    ['50x%', [400, 300], [200, 150]],
    ['33.3%', [400, 300], [133, 100]],
    ['50%', [201, 99], [101, 50]],
    ['0.1%', [400, 300], [1, 1]],

    // @ an area, sides cut
    ['10000@', [400, 300], [115, 86]],
    ['120000@', [400, 300], [400, 300]],
    ['480000@', [400, 300], [800, 600]],
    ['10000@', [200, 200], [100, 100]],
    ['10000@', [19, 19], [100, 100]],
    ['7500@', [76, 57], [100, 75]],
    ['1@', [400, 300], [1, 1]],
    ['10@', [2000, 3], [81, 1]],
    ['10000@>', [400, 300], [115, 86]],
    ['10000>@', [400, 300], [115, 86]],
    ['120000@>', [400, 300], [400, 300]],
    ['480000@>', [400, 300], [400, 300]],

    // # fills the box and cuts what stands over
    ['100x100#', [400, 300], [133, 100], [100, 100, 16, 0]],
    ['100x100#', [300, 400], [100, 133], [100, 100, 0, 16]],
    ['100#', [400, 300], [133, 100], [100, 100, 16, 0]],
    ['200x100#', [400, 300], [200, 150], [200, 100, 0, 25]],
    ['300x100#', [400, 300], [300, 225], [300, 100, 0, 62]],
    ['50x50#', [50, 50], [50, 50], [50, 50, 0, 0]],
    ['100x100#', [50, 20], [250, 100], [100, 100, 75, 0]],
    ['25x25#', [1600, 1200], [33, 25], [25, 25, 4, 0]],
    ['100x100#', [2000, 3], [66667, 100], [100, 100, 33283, 0]],
    ['100x100#', [1, 1], [100, 100], [100, 100, 0, 0]],
    // from the rounded size these offsets would be 1 and 2
    ['100x100#', [127, 125], [102, 100], [100, 100, 0, 0]],
    ['100x100#', [1037, 1000], [104, 100], [100, 100, 1, 0]],
    ['100x100#', [1000, 1037], [100, 104], [100, 100, 0, 1]],
  ]
  it.each(cases)('%s of %j is %j', (geometry, [w, h], [width, height], crop) => {
    const [cropWidth, cropHeight, left, top] = crop ?? []
    expect(applyGeometry(parseGeometry(geometry), { width: w, height: h })).toEqual({
      width,
      height,
      ...(crop && { crop: { width: cropWidth, height: cropHeight, left, top } }),
    })
  })
})

describe('what is no geometry is refused, with the cure', () => {
  const anything = /is no geometry: write '800x600', '800x', 'x600' or '800', and at most one of/
  it.each([
    ['abc', anything],
    ['100x100px', anything],
    ['', anything],
    ['  ', anything],
    ['x', anything],
    ['>', anything],
    ['@', anything],
    ['#', anything],
    ['%', anything],
    ['-5', anything],
    ['100x-5', anything],
    ['100x100>>', anything],
    ['100x100&>>', anything],
    ['100x100>!', anything],
    ['100x100#>', anything],
    ['100x100+10+10', anything],
    ['100 x 100', anything],
    ['100x100x100', anything],
    ['1e3', anything],
    ['１００x１００', anything],
    ['0x100', /no pixels: leave a side out/],
    ['100x0', /no pixels: leave a side out/],
    ['0', /no pixels: leave a side out/],
    ['0.0%', /no pixels: leave a side out/],
    ['0@', /no pixels: leave a side out/],
    ['100.5x10', /fraction of a pixel: only percentages/],
    ['100x10.5>', /fraction of a pixel: only percentages/],
    ['10x10@', /one number before @.*'10000@' is 100 times 100/],
    ['x100@', /one number before @.*'10000@' is 100 times 100/],
    ['100x@>', /one number before @.*'10000@' is 100 times 100/],
    ['x100#', /both sides before #: '100x100#'/],
    ['100x#', /both sides before #: '100x100#'/],
  ])('%j', (geometry, message) => {
    expect(() => parseGeometry(geometry)).toThrow(message)
  })
})

describe('whatever the picture and the box,', () => {
  const side = fc.integer({ min: 1, max: 20_000 })
  const box = fc.integer({ min: 1, max: 5_000 })
  const source = fc.record({ width: side, height: side })
  const check = <T>(property: fc.IProperty<T>) => fc.assert(property, { numRuns: 1000 })
  const sized = (text: string, size: { width: number; height: number }) => applyGeometry(parseGeometry(text), size)

  it('results are whole and at least one pixel', () => {
    const geometry = fc.oneof(
      fc.tuple(box, box, fc.constantFrom<Modifier[]>('', '>', '<', '!', '^', '%', '#')).map(([W, H, modifier]) => `${W}x${H}${modifier}`),
      fc.tuple(box, fc.constantFrom<Modifier[]>('', '>', '<', '!', '^', '%', '#', '@', '@>')).map(([W, modifier]) => `${W}${modifier}`),
      fc.tuple(box, fc.constantFrom<Modifier[]>('', '>', '<', '!', '^', '%')).map(([H, modifier]) => `x${H}${modifier}`),
    )
    check(
      fc.property(geometry, source, (text, size) => {
        const { width, height, crop } = sized(text, size)
        for (const pixels of [width, height, crop?.width ?? 1, crop?.height ?? 1]) expect(Number.isInteger(pixels) && pixels >= 1).toBe(true)
        for (const offset of [crop?.left ?? 0, crop?.top ?? 0]) expect(Number.isInteger(offset) && offset >= 0).toBe(true)
      }),
    )
  })

  it('no modifier stays inside the box and touches it', () => {
    check(
      fc.property(box, box, source, (W, H, size) => {
        const { width, height } = sized(`${W}x${H}`, size)
        expect(width <= W && height <= H).toBe(true)
        expect(width === W || height === H).toBe(true)
      }),
    )
  })

  it("'>' and '@>' never enlarge", () => {
    check(
      fc.property(
        fc.oneof(
          fc.tuple(box, box).map(([W, H]) => `${W}x${H}>`),
          box.map((area) => `${area}@>`),
        ),
        source,
        (text, size) => {
          const { width, height } = sized(text, size)
          expect(width <= size.width && height <= size.height).toBe(true)
        },
      ),
    )
  })

  it("'<' never shrinks", () => {
    check(
      fc.property(box, box, source, (W, H, size) => {
        const { width, height } = sized(`${W}x${H}<`, size)
        expect(width >= size.width && height >= size.height).toBe(true)
      }),
    )
  })

  it("'!' is exact", () => {
    check(
      fc.property(box, box, source, (W, H, size) => {
        expect(sized(`${W}x${H}!`, size)).toEqual({ width: W, height: H })
      }),
    )
  })

  it("'^' covers the box and touches it", () => {
    check(
      fc.property(box, box, source, (W, H, size) => {
        const { width, height } = sized(`${W}x${H}^`, size)
        expect(width >= W && height >= H).toBe(true)
        expect(width === W || height === H).toBe(true)
      }),
    )
  })

  it("'@' takes no more than the area, unless a side would be lost", () => {
    check(
      fc.property(fc.integer({ min: 1, max: 25_000_000 }), source, (area, size) => {
        const { width, height } = sized(`${area}@`, size)
        expect(width * height <= area || width === 1 || height === 1).toBe(true)
      }),
    )
  })

  it("'#' cuts exactly the box, from the middle, and from inside of the resized picture", () => {
    check(
      fc.property(box, box, source, (W, H, size) => {
        const { width, height, crop } = sized(`${W}x${H}#`, size)
        expect(crop).toMatchObject({ width: W, height: H })
        const { left = 0, top = 0 } = crop ?? {}
        expect(left + W <= width && top + H <= height).toBe(true)
        expect(Math.abs(width - W - 2 * left) <= 2 && Math.abs(height - H - 2 * top) <= 2).toBe(true)
        expect(left === 0 || top === 0).toBe(true)
      }),
    )
  })
})
