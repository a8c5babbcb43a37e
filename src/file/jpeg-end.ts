/**
 * Watches a JPEG go by and tells whether its picture came to an end: half an upload is refused while the visitor is
 * still there, without decoding anything. What follows the first picture (motion photos, depth maps) is not looked at.
 * Markers and segment lengths: ITU-T T.81, annex B.
 */
export function jpegEnd(): { take(chunk: Buffer): void; readonly missing: boolean } {
  const START = 0xd8
  const END = 0xd9
  const SCAN = 0xda
  /** No length follows these: TEM, RST0 to RST7 and the start itself. */
  const bare = (marker: number) => marker === 0x01 || (marker >= 0xd0 && marker <= START)

  let state: 'start' | 'marker' | 'length' | 'skip' | 'scan' | 'other' | 'ended' = 'start'
  let seen = 0
  let marker = 0
  let length = 0
  let pending = -1

  function afterMarker(code: number): typeof state {
    marker = code
    if (code === END) return 'ended'
    return bare(code) ? 'marker' : 'length'
  }

  /** One byte outside of picture data. */
  function step(byte: number): void {
    if (state === 'start') {
      if (byte !== (seen === 0 ? 0xff : START)) state = 'other'
      else if (++seen === 2) state = 'marker'
    } else if (state === 'marker') {
      if (pending < 0) pending = byte
      else if (byte !== 0xff) {
        state = pending === 0xff ? afterMarker(byte) : 'other'
        pending = -1
      }
    } else if (state === 'length') {
      if (pending < 0) pending = byte
      else {
        length = pending * 256 + byte - 2
        pending = -1
        state = length < 0 ? 'other' : 'skip'
      }
    }
  }

  return {
    take(chunk) {
      let at = 0
      while (at < chunk.length && state !== 'other' && state !== 'ended') {
        if (state === 'skip') {
          const skipped = Math.min(length, chunk.length - at)
          length -= skipped
          at += skipped
          if (length === 0) state = marker === SCAN ? 'scan' : 'marker'
        } else if (state === 'scan') {
          if (pending === 0xff) {
            const byte = chunk[at++] as number
            if (byte === 0xff) continue
            pending = -1
            if (byte !== 0 && !bare(byte)) state = afterMarker(byte)
          } else {
            const next = chunk.indexOf(0xff, at)
            at = next < 0 ? chunk.length : next + 1
            if (next >= 0) pending = 0xff
          }
        } else step(chunk[at++] as number)
      }
      if (state === 'skip' && length === 0) state = marker === SCAN ? 'scan' : 'marker'
    },
    get missing() {
      return state !== 'other' && state !== 'ended' && state !== 'start'
    },
  }
}
