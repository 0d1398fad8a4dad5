/**
 * The report as JUnit XML, for what shows the results of tests: a suite each of the run, its invariants, assertions and drills. The shape is
 * that of Jenkins' junit-10.xsd. A verdict that is not ok fails at least one test, whatever the reason.
 */

import type { SimulationReport } from '#wire/simulation-report.ts'

/** Of a text: longer ones say no more. */
const LONGEST = 4_000

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  '\t': '&#9;',
  '\n': '&#10;',
}

// XML 1.0 §2.2 has no way to write these, not even escaped; CR would come back as LF
const NOT_XML = /(?![\t\n])[\p{Cc}\ufffe\uffff]/gu

/** For an attribute in double quotes, and for text. */
const escaped = (text: string): string =>
  text
    .slice(0, LONGEST)
    .toWellFormed()
    .replace(NOT_XML, '')
    .replace(/[&<>"\t\n]/g, (character) => ENTITIES[character] ?? '')

type Case = {
  readonly name: string
  /** null: not judged, which is not a failure of its own */
  readonly held: boolean | null
  readonly message: string
  readonly evidence: readonly string[]
}
type Suite = { readonly name: string; readonly cases: readonly Case[]; readonly notes?: readonly string[] }

const runOf = ({ run, verdict, generator }: SimulationReport): Suite => ({
  name: 'run',
  cases: [
    {
      name: 'the verdict is ok',
      held: verdict.ok,
      message: verdict.reasons[0] ?? 'not ok',
      evidence: [...verdict.reasons, `repeat it with: ${run.command}`],
    },
    {
      name: 'the simulator had no trouble',
      held: run.trouble === null,
      message: run.trouble ?? '',
      evidence: [],
    },
    {
      name: 'the load generator kept up',
      held: generator.bound ? null : true,
      message: 'it was the bottleneck: latencies are not those of the server',
      evidence: generator.reasons,
    },
  ],
  notes: [`repeat it with: ${run.command}`],
})

const suitesOf = (report: SimulationReport): readonly Suite[] => [
  runOf(report),
  {
    name: 'invariants',
    cases: report.invariants.map((each) => ({
      name: each.name,
      held: each.held,
      message: each.held === null ? each.why : `${each.broken} of ${each.checked}: ${each.promise}`,
      evidence: each.evidence,
    })),
  },
  {
    name: 'assertions',
    cases: report.assertions.map((each) => ({
      name: each.text,
      held: each.held,
      message: each.why,
      evidence: [],
    })),
  },
  {
    name: 'drills',
    cases: [
      ...report.drills.map((each) => ({
        name: each.expectation,
        held: each.held,
        message: each.evidence,
        evidence: [],
      })),
      ...Object.entries(report.skipped).map(([name, why]) => ({
        name,
        held: null,
        message: why,
        evidence: [],
      })),
    ],
  },
]

const caseXml = (suite: string, { name, held, message, evidence }: Case): string => {
  const start = `    <testcase name="${escaped(name)}" classname="sallyport.sim.${suite}"`
  if (held === true) return `${start}/>`
  const inside =
    held === null
      ? `<skipped message="${escaped(message)}"/>`
      : `<failure type="${suite}" message="${escaped(message)}">${evidence.map(escaped).join('\n')}</failure>`
  return `${start}>${inside}</testcase>`
}

const tally = (cases: readonly Case[]): string => {
  const failures = cases.filter(({ held }) => held === false).length
  return `tests="${cases.length}" failures="${failures}" errors="0"`
}

/** @param o.time seconds. @param o.stamp xs:dateTime without zone, in UTC: what the schemas of JUnit agree on */
const suiteXml = (
  { name, cases, notes }: Suite,
  o: { readonly time: string; readonly stamp: string },
): string =>
  [
    `  <testsuite name="sallyport.sim.${name}" ${tally(cases)} skipped="${cases.filter(({ held }) => held === null).length}" time="${name === 'run' ? o.time : '0'}" timestamp="${o.stamp}">`,
    ...cases.map((each) => caseXml(name, each)),
    ...(notes === undefined ? [] : [`    <system-out>${notes.map(escaped).join('\n')}</system-out>`]),
    '  </testsuite>',
  ].join('\n')

/** A whole document. Nothing that came from outside can end an element, and no character that XML does not know is in it. */
export const junitReport = (report: SimulationReport): string => {
  const suites = suitesOf(report)
  const time = (report.run.duration_ms / 1_000).toFixed(3)
  const stamp = report.run.started.slice(0, 19)
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="${escaped(`sallyport sim ${report.run.scenario}`)}" ${tally(suites.flatMap(({ cases }) => cases))} time="${time}">`,
    ...suites.map((suite) => suiteXml(suite, { time, stamp })),
    '</testsuites>',
    '',
  ].join('\n')
}
