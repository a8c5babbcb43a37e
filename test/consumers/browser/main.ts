import { type SendOptions, send, type UploadError, type UploadForm, upload } from 'typeorm-attachments/client'

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

// @ts-expect-error a page has to say whose file it is
input?.addEventListener('change', () => upload((input.files as FileList)[0] as File, { url: '/uploads' }))
