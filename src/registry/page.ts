/** Keyset paging, as every list of the registry has it. */

/** `after` is the `next` of the page before (`bad_request` when it cannot be one). `limit`: 1 to 1,000, else the nearer. */
export type Page = { readonly after?: string | undefined; readonly limit: number }
export type Paged<T> = { readonly items: readonly T[]; readonly next: string | undefined }
