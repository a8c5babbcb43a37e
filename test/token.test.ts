import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Claim, tokensOf } from '../src/lifecycle/token'

const secret = 'a secret of more than 32 characters'
const other = 'another one of more than 32 characters'
const now = Date.UTC(2026, 0, 1)

const claim: Claim = {
  entity: 'User',
  attachment: 'avatar',
  version: '0123456789abcdef0123456789abcdef',
  fileName: 'Grüße 🏖️.png',
  contentType: 'image/png',
  size: 12_345,
  subject: 'user 7',
  until: now + 1000,
}

describe('a token', () => {
  const tokens = tokensOf([secret])

  it('says what was signed', () => {
    expect(tokens.open(tokens.sign(claim), now)).toEqual(claim)
  })

  it('stands in a URL and in a form as it is', () => {
    expect(encodeURIComponent(tokens.sign(claim))).toBe(tokens.sign(claim))
  })

  it('is good until its moment, and not longer', () => {
    expect(tokens.open(tokens.sign(claim), claim.until)).toEqual(claim)
    expect(() => tokens.open(tokens.sign(claim), claim.until + 1)).toThrow(expect.objectContaining({ code: 'token_expired' }))
  })

  it('is none with any character changed, left out or put in', () => {
    const token = tokens.sign(claim)
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.= '
    const changed = fc.tuple(fc.nat(token.length - 1), fc.constantFrom('', ...alphabet), fc.boolean())
    fc.assert(
      fc.property(changed, ([at, character, insert]) => {
        const forged = token.slice(0, at) + character + token.slice(insert ? at : at + 1)
        fc.pre(forged !== token)
        expect(() => tokens.open(forged, now)).toThrow(expect.objectContaining({ code: 'bad_token' }))
      }),
      { numRuns: 2_000 },
    )
  })

  it.each(['', '.', 'a.b', 'a.b.c', `${'a'.repeat(100_000)}.x`])('is none of %o', (given) => {
    expect(() => tokens.open(given, now)).toThrow(expect.objectContaining({ code: 'bad_token' }))
  })

  it.each([undefined, null, 7, {}, ['a.b']])('is none of %o', (given) => {
    expect(() => tokens.open(given as never, now)).toThrow(expect.objectContaining({ code: 'bad_token' }))
  })

  it('of one claim has no mac that another could use', () => {
    const [text] = tokens.sign({ ...claim, subject: 'user 8' }).split('.')
    const [, mac] = tokens.sign(claim).split('.')
    expect(() => tokens.open(`${text}.${mac}`, now)).toThrow(expect.objectContaining({ code: 'bad_token' }))
  })
})

describe('secrets', () => {
  it('are replaced while tokens of the old one are still about', () => {
    const old = tokensOf([secret]).sign(claim)
    expect(tokensOf([other, secret]).open(old, now)).toEqual(claim)
    expect(() => tokensOf([other]).open(old, now)).toThrow(expect.objectContaining({ code: 'bad_token' }))
    expect(tokensOf([other]).open(tokensOf([other, secret]).sign(claim), now)).toEqual(claim)
  })

  it('are needed, and long', () => {
    expect(() => tokensOf([])).toThrow(expect.objectContaining({ code: 'secret_missing' }))
    expect(() => tokensOf([secret, 'short'])).toThrow(expect.objectContaining({ code: 'secret_short' }))
  })
})
