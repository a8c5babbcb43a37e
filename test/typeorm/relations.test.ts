import 'reflect-metadata'
import { Column, DeleteDateColumn, Entity, JoinColumn, JoinTable, ManyToMany, ManyToOne, OneToMany, OneToOne, PrimaryGeneratedColumn } from 'typeorm'
import { describe, expect, it } from 'vitest'
import { type Attached, Attachment } from '../../src'
import { type Database, databases } from '../support/databases'
import { filesIn, world } from '../support/world'
import { keysOf, state, stored } from './people'

@Entity()
class Tag {
  @PrimaryGeneratedColumn()
  id!: number

  @Attachment({ accept: 'any' })
  icon!: Attached
}

@Entity()
class Album {
  @PrimaryGeneratedColumn()
  id!: number

  @Column({ type: String, default: '' })
  name!: string

  @Attachment({ accept: 'any' })
  cover!: Attached

  @OneToMany(
    () => Photo,
    (photo) => photo.album,
    { cascade: true },
  )
  photos!: Photo[]

  @OneToMany(
    () => Video,
    (video) => video.album,
    { cascade: ['insert', 'soft-remove'] },
  )
  videos!: Video[]

  @ManyToMany(() => Tag, { cascade: true })
  @JoinTable()
  tags!: Tag[]
}

@Entity()
class Photo {
  @PrimaryGeneratedColumn()
  id!: number

  @Column({ type: String, default: '' })
  name!: string

  @ManyToOne(
    () => Album,
    (album) => album.photos,
    { orphanedRowAction: 'delete', onDelete: 'CASCADE' },
  )
  album!: Album

  @Attachment({ accept: 'any' })
  picture!: Attached

  @OneToOne(
    () => Negative,
    (negative) => negative.photo,
    { cascade: true },
  )
  negative!: Negative
}

@Entity()
class Video {
  @PrimaryGeneratedColumn()
  id!: number

  @ManyToOne(
    () => Album,
    (album) => album.videos,
    { orphanedRowAction: 'soft-delete' },
  )
  album!: Album

  @Attachment({ accept: 'any' })
  film!: Attached

  @DeleteDateColumn()
  deletedAt!: Date | null
}

@Entity()
class Negative {
  @PrimaryGeneratedColumn()
  id!: number

  @OneToOne(
    () => Photo,
    (photo) => photo.negative,
    { onDelete: 'CASCADE' },
  )
  @JoinColumn()
  photo!: Photo

  @Attachment({ accept: 'any' })
  scan!: Attached
}

async function start(on: Database) {
  const here = await world([Album, Photo, Video, Negative, Tag], { on })
  const albums = here.dataSource.getRepository(Album)
  const photo = async (text: string) => {
    const made = new Photo()
    await here.attachments.attach(made, 'picture', Buffer.from(text))
    return made
  }
  /** An album with a cover and two photos, saved and processed. */
  const saved = async () => {
    const album = Object.assign(new Album(), { photos: [await photo('one'), await photo('two')] })
    await here.attachments.attach(album, 'cover', Buffer.from('cover'))
    await albums.save(album)
    await here.attachments.idle()
    return albums.findOneOrFail({ where: { id: album.id }, relations: { photos: true }, order: { photos: { id: 'ASC' } } })
  }
  const photos = () => here.dataSource.getRepository(Photo).find({ order: { id: 'ASC' } })
  return { ...here, albums, photo, photos, saved }
}

describe.each(databases)('relations on %s', (on) => {
  it('a cascaded insert saves the files of parent and children, of every kind', async () => {
    const here = await start(on)
    const photo = await here.photo('photo')
    photo.negative = new Negative()
    const [video, tag] = [new Video(), new Tag()]
    await here.attachments.attach(photo.negative, 'scan', Buffer.from('scan'))
    await here.attachments.attach(video, 'film', Buffer.from('film'))
    await here.attachments.attach(tag, 'icon', Buffer.from('icon'))
    const album = Object.assign(new Album(), { photos: [photo], videos: [video], tags: [tag] })
    await here.attachments.attach(album, 'cover', Buffer.from('cover'))
    await here.albums.save(album)
    await here.attachments.idle()
    const loaded = await here.albums.findOneOrFail({ where: { id: album.id }, relations: { photos: { negative: true }, videos: true, tags: true } })
    const files = [loaded.cover, loaded.photos[0]?.picture, loaded.photos[0]?.negative.scan, loaded.videos[0]?.film, loaded.tags[0]?.icon]
    expect(files.map(state)).toEqual(Array(5).fill('stored'))
    expect(stored(here)).toEqual(keysOf(...files))
    expect(stored(here)).toHaveLength(5)
  })

  it('a cascaded update replaces the file of a child, and adds one', async () => {
    const here = await start(on)
    const album = await here.saved()
    await here.attachments.attach(album.photos[0] as Photo, 'picture', Buffer.from('one, again'))
    album.photos.push(await here.photo('three'))
    album.name = 'changed'
    await here.albums.save(album)
    await here.attachments.idle()
    const photos = await here.photos()
    expect(photos.map(({ picture }) => [picture.processing, picture.fileSize])).toEqual([
      [false, 10],
      [false, 3],
      [false, 5],
    ])
    expect(stored(here)).toEqual(keysOf(album.cover, ...photos.map(({ picture }) => picture)))
  })

  it('a child that lost its parent is deleted with its files', async () => {
    const here = await start(on)
    const album = await here.saved()
    const [kept] = album.photos
    album.photos = [kept as Photo]
    await here.albums.save(album)
    await here.attachments.idle()
    const photos = await here.photos()
    expect(photos.map(({ id }) => id)).toEqual([kept?.id])
    expect(stored(here)).toEqual(keysOf(album.cover, kept?.picture))
    expect(await filesIn(here.staging)).toEqual([])
  })

  it('a child that lost its parent and is only soft-deleted keeps its files', async () => {
    const here = await start(on)
    const video = new Video()
    await here.attachments.attach(video, 'film', Buffer.from('film'))
    const album = await here.albums.save(Object.assign(new Album(), { videos: [video] }))
    await here.attachments.idle()
    album.videos = []
    await here.albums.save(album)
    await here.attachments.idle()
    const videos = here.dataSource.getRepository(Video)
    expect(await videos.count()).toBe(0)
    expect(stored(here)).toEqual(keysOf((await videos.find({ withDeleted: true }))[0]?.film))
  })

  it('a cascaded remove deletes the files of parent and children', async () => {
    const here = await start(on)
    const [album, other] = [await here.saved(), await here.saved()]
    await here.albums.remove(album)
    await here.attachments.idle()
    expect(await here.photos()).toHaveLength(2)
    expect(stored(here)).toEqual(keysOf(other.cover, ...other.photos.map(({ picture }) => picture)))
    expect(await filesIn(here.staging)).toEqual([])
  })

  it('a child that moves to another parent keeps its file', async () => {
    const here = await start(on)
    const [one, two] = [await here.saved(), await here.saved()]
    const [moved] = one.photos
    await here.dataSource.manager.save(Object.assign(moved as Photo, { album: two }))
    await here.attachments.idle()
    expect(stored(here)).toEqual(keysOf(one.cover, two.cover, ...[...one.photos, ...two.photos].map(({ picture }) => picture)))
  })
})
