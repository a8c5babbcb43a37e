const neither = 'Whatever its name says, that is neither a picture that we can read (JPEG, PNG, WebP, GIF, AVIF) nor a text.'

/** Why a file is not taken, for whoever sent it: by the codes of the library. */
export const refusals: Readonly<Record<string, string>> = {
  empty: 'The file is empty.',
  too_large: 'Pictures may have up to 200 MB, and texts 1 MB.',
  type_not_accepted: neither,
  content_mismatch: neither,
  bad_content_type: neither,
  bad_size: 'The file has no size.',
  corrupt_image: 'That picture is damaged.',
  too_many_pixels: 'That picture has too many pixels.',
  never_uploaded: 'It was announced, and has not come.',
  not_delivered: 'It was not converted in time.',
  token_expired: 'The upload is too old. Please upload the file again.',
}
