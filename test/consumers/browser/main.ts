import { type SendOptions, send, type UploadError, type UploadForm, upload, type WatchState, watch } from 'typeorm-attachments/client'

const bar = document.querySelector('progress')
const input = document.querySelector('input')
const aborter = new AbortController()
const told: SendOptions = { signal: aborter.signal, onProgress: ({ loaded, total }) => bar?.setAttribute('value', String(loaded / total)) }

export async function uploadAvatar(file: File): Promise<string> {
  const { token } = await upload(file, { url: '/uploads', entity: 'User', property: 'avatar', retries: 1, ...told })
  return token
}

export async function sendLater(form: UploadForm): Promise<string> {
  try {
    await send(new Blob(['bytes']), form, told)
    return 'sent'
  } catch (error) {
    const { code, status, message } = error as UploadError
    return `${code} ${status}: ${message}`
  }
}

export async function untilShown(tokens: string[], image: HTMLImageElement): Promise<void> {
  const onState = ({ state, progress, file }: WatchState<{ thumb: string }>) => {
    if (state === 'processed' && file) image.src = file.thumb
    else bar?.setAttribute('value', String(progress?.done))
  }
  await watch(tokens, { url: '/watch', onState, signal: aborter.signal })
}

// @ts-expect-error what is watched has to be told to somebody
export const nobody = watch([], { url: '/watch' })

// @ts-expect-error a page has to say whose file it is
input?.addEventListener('change', () => upload((input.files as FileList)[0] as File, { url: '/uploads' }))
