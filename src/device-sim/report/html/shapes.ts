/** Paths of SVG from numbers. Nothing here knows what they mean. */

import { html, trusted, type Content, type Markup } from './markup.ts'

type Spot = { readonly x: number; readonly y: number }

const n = (value: number): string => String(Math.round(value * 10) / 10)

/** Where there is nothing, a line is broken. */
const runs = <T>(all: readonly (T | undefined)[]): T[][] => {
  const found: T[][] = []
  let open = false
  for (const each of all) {
    if (each !== undefined && open) found.at(-1)?.push(each)
    else if (each !== undefined) found.push([each])
    open = each !== undefined
  }
  return found
}

const through = (spots: readonly Spot[]): string => spots.map(({ x, y }) => `${n(x)} ${n(y)}`).join('L')

/** Between two lines. */
export const bandPath = (pairs: readonly (readonly [Spot, Spot] | undefined)[]): string =>
  runs(pairs)
    .filter((run) => run.length > 1)
    .map(
      (run) => `M${through(run.map(([low]) => low))}L${through(run.map(([, high]) => high).toReversed())}Z`,
    )
    .join('')

export type Step = {
  readonly left: number
  readonly right: number
  readonly low: number
  readonly high: number
}

/** One of several that stand on each other: a block for each bin, those of equal height in one. Nothing where it is flat. */
export const stepPath = (steps: readonly Step[]): string =>
  runs(steps.map((step) => (step.low - step.high > 0.05 ? step : undefined)))
    .map((run) => {
      const tops = run.map((step) => `V${n(step.high)}H${n(step.right)}`).join('')
      const bottoms = run
        .toReversed()
        .map((step) => `V${n(step.low)}H${n(step.left)}`)
        .join('')
      return `M${n(run[0]?.left ?? 0)} ${n(run[0]?.low ?? 0)}${tops}${bottoms}Z`
    })
    .join('')

/** @param style the classes of style.ts */
export const path = (style: string, d: string): Markup | undefined =>
  d === '' ? undefined : html`<path class="${style}" d="${trusted(d)}" />`

/** Broken where there is nothing; what has no neighbours is a dot. */
export const line = (style: string, spots: readonly (Spot | undefined)[]): Content => {
  const all = runs(spots)
  const joined = all.filter((run) => run.length > 1).map((run) => `M${through(run)}`)
  const alone = all.filter((run) => run.length === 1).map((run) => `M${through(run)}h0`)
  return [path(style, joined.join('')), path(`${style} spot`, alone.join(''))]
}
