const longest = 255

/**
 * The name a person sees, made harmless: the last part of a path, no control or direction characters, at most 255
 * bytes with its extension kept. Names that a multipart parser read as Latin-1 (`Ã©tÃ©.jpg`) are read again as UTF-8.
 */
export function cleanFileName(name: string): string {
  const last = repaired(name).split(/[\\/]/).pop() ?? ''
  const visible = last
    .normalize('NFC')
    .replace(/[\p{Cc}\p{Cs}\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/gu, '')
    .trim()
  return /^[.\s]*$/.test(visible) ? 'file' : shortened(visible)
}

/** Only what no Latin-1 text would say by chance is repaired: all of it below U+0100, and valid UTF-8 as bytes. */
function repaired(name: string): string {
  if (!/[\u0080-\u00ff]/.test(name) || /[^\0-\u00ff]/.test(name)) return name
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(name, 'latin1'))
  } catch {
    return name
  }
}

function shortened(name: string): string {
  if (Buffer.byteLength(name) <= longest) return name
  const extension = /\.[^.]{1,20}$/su.exec(name)?.[0] ?? ''
  let kept = ''
  let room = longest - Buffer.byteLength(extension)
  for (const character of name.slice(0, name.length - extension.length)) {
    room -= Buffer.byteLength(character)
    if (room < 0) break
    kept += character
  }
  return kept + extension
}
