// Compiled, never run: `npm run types` fails when one of these lines compiles that should not, or the other way round.
import { type Attached, Attachment, Attachments, diskStorage, inlineBackground, memoryStorage } from '../src'

export class User {
  @Attachment({ styles: { large: '800x800>', thumb: { geometry: '100x100#', format: 'webp' } }, accept: ['image/*'] })
  avatar!: Attached<'large' | 'thumb'>

  @Attachment({ accept: 'any' })
  paper!: Attached | null

  @Attachment({ styles: (user: User) => ({ print: user.name }), accept: 'any' })
  poster?: Attached<'print'>

  @Attachment({ styles: { a: '1x1' }, accept: 'any', processInBackground: { only: ['a'] }, defaultUrl: (style, file) => `${style}/${file.present}` })
  fine!: Attached<'a'>

  // @ts-expect-error the property's type names a style that is not declared
  @Attachment({ styles: { thumb: '1x1' }, accept: 'any' })
  tooMany!: Attached<'thumb' | 'large'>

  // @ts-expect-error a style is declared that the property's type does not name
  @Attachment({ styles: { thumb: '1x1', large: '2x2' }, accept: 'any' })
  tooFew!: Attached<'thumb'>

  // @ts-expect-error the property is no attachment
  @Attachment({ accept: 'any' })
  name!: string

  // @ts-expect-error accept has to be said
  @Attachment({ styles: { thumb: '1x1' } })
  silent!: Attached<'thumb'>

  // @ts-expect-error there is no such option
  @Attachment({ accept: 'any', style: {} })
  misspelt!: Attached

  // @ts-expect-error only declared styles can wait
  @Attachment({ styles: { a: '1x1' }, accept: 'any', processInBackground: { only: ['b'] } })
  waiting!: Attached<'a'>

  // @ts-expect-error sharp writes no BMP
  @Attachment({ styles: { a: { format: 'bmp' } }, accept: 'any' })
  bitmap!: Attached<'a'>
}

/** A subclass may declare more styles, and not fewer. */
export class Admin extends User {
  @Attachment({ styles: { large: '800x800>', thumb: '1x1', huge: '4000x' }, accept: 'any' })
  declare avatar: Attached<'large' | 'thumb' | 'huge'>
}

export async function use(user: User, attachments: Attachments): Promise<void> {
  user.avatar.url('thumb')
  user.avatar.url()
  user.avatar.path('original')
  await user.poster?.signedUrl('print', { expiresIn: 60, fileName: 'x.png', stable: true })
  const json: string | null = user.avatar.toJSON().styles.large
  const urls: Record<'large' | 'thumb', string | null> = await user.avatar.signedUrls({ expiresIn: 60, stable: true })
  user.avatar.picture({ alt: '', sizes: '50vw', styles: ['large', 'original'], urls, attributes: { class: 'round' } })
  user.avatar.srcset({ styles: ['thumb'] })
  const meanwhile: string | null = user.avatar.placeholder()
  await attachments.attach(user, 'avatar', Buffer.from(meanwhile ?? ''))
  await attachments.attach(user, 'avatar', Buffer.from(json ?? ''))
  await attachments.attach(user, 'paper', user.avatar, { fileName: 'copy.jpg' })
  await attachments.attach(user, 'poster', new Blob([]))
  await attachments.detach(user, 'paper')

  // @ts-expect-error misspelt
  user.avatar.url('thmub')
  // @ts-expect-error alt has to be said
  user.avatar.picture({})
  // @ts-expect-error misspelt
  user.avatar.picture({ alt: '', styles: ['thmub'] })
  // @ts-expect-error misspelt
  user.avatar.srcset({ styles: ['thmub'] })
  // @ts-expect-error no styles
  user.paper?.url('thumb')
  // @ts-expect-error misspelt
  await user.avatar.stream('thmub')
  // @ts-expect-error no attachment
  await attachments.attach(user, 'name', Buffer.alloc(1))
  // @ts-expect-error a path is no source
  await attachments.attach(user, 'avatar', '/etc/passwd')
  // @ts-expect-error the facts are the library's
  user.avatar.processing = false
}

export const attachments = new Attachments({ staging: diskStorage({ root: 'x' }), storage: { a: memoryStorage() }, background: inlineBackground() })
// @ts-expect-error a staging is needed
new Attachments({ storage: memoryStorage(), background: inlineBackground() })
