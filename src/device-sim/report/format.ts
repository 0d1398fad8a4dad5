/** Figures as people read them: the same in the page, in the summary and in the live view. No markup and no colour. */

/** Three digits that count: 0.214, 4.13, 18.6, 412, 12000 */
const digits = (value: number): string => {
  if (value === 0) return '0'
  const size = Math.floor(Math.log10(Math.abs(value)))
  return size >= 2 ? String(Math.round(value)) : String(Number(value.toFixed(Math.min(6, 2 - size))))
}

/** `12,345` */
export const formatCount = (n: number): string => n.toLocaleString('en-US')

/** `98k`, `1.2M`: where there is little room */
export const formatShort = (n: number): string =>
  n >= 1e9
    ? `${digits(n / 1e9)}G`
    : n >= 1e6
      ? `${digits(n / 1e6)}M`
      : n >= 10_000
        ? `${digits(n / 1e3)}k`
        : formatCount(Number(digits(n)))

/** @param ms `214 µs`, `4.13 ms`, `1.2 s`, `3.5 min` */
export const formatMillis = (ms: number): string => {
  if (ms === 0) return '0 ms'
  if (ms < 0.9995) return `${digits(Math.round(ms * 1_000))} µs`
  if (ms < 999.5) return `${digits(ms)} ms`
  return ms < 120_000 ? `${digits(ms / 1_000)} s` : `${digits(ms / 60_000)} min`
}

/** @param ms `0:07`, `12:34`, `1:02:03`; `-0:04` before the start */
export const formatClock = (ms: number): string => {
  const seconds = Math.round(Math.abs(ms) / 1_000)
  const two = (n: number): string => String(n).padStart(2, '0')
  const hours = Math.floor(seconds / 3_600)
  const minutes = Math.floor(seconds / 60) % 60
  const text = hours > 0 ? `${hours}:${two(minutes)}` : `${minutes}`
  return `${ms < 0 && seconds > 0 ? '-' : ''}${text}:${two(seconds % 60)}`
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'] as const

/** Powers of 1,000. */
export const formatBytes = (bytes: number): string => {
  const unit = bytes < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log10(bytes) / 3))
  return `${digits(bytes / 1_000 ** unit)} ${UNITS[unit] ?? 'B'}`
}

/** @param part of `all`; `—` of nothing; never 0 % or 100 % when it is not that */
export const formatShare = (part: number, all: number): string => {
  if (all === 0) return '—'
  const percent = (part / all) * 100
  if (percent > 0 && percent < 0.01) return '< 0.01 %'
  if (percent < 100 && percent > 99.99) return '> 99.99 %'
  return `${Number(percent.toFixed(2))} %`
}

/** @param share of 1: `43 %` */
export const formatPercent = (share: number): string => `${Math.round(share * 100)} %`

/** The most frequent first; of equals, by name. */
export const byFrequency = (counts: Readonly<Record<string, number>>): (readonly [string, number])[] =>
  Object.entries(counts).toSorted(([a, m], [b, n]) => n - m || (a < b ? -1 : 1))
