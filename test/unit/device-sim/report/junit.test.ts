import { expect, test } from 'vitest'
import { junitReport } from '#device-sim/report/junit.ts'
import { elementsOf, readElements, type Element } from '../../../support/elements.ts'
import { sampleReport } from '../../../support/simulation-report.ts'

const EVIL = `"/><x>]]>'&\u0000\u000b\ufffe\ud800\nnext`

const count = (element: Element, name: string): number => elementsOf(element, name).length

/** What junit-10.xsd of Jenkins asks for: names, who may stand in whom, in which order, and sums that are right. */
const ALLOWED: Readonly<
  Record<string, readonly [attributes: readonly string[], children: readonly string[]]>
> = {
  testsuites: [['name', 'tests', 'failures', 'errors', 'time'], ['testsuite']],
  testsuite: [
    ['name', 'tests', 'failures', 'errors', 'skipped', 'time', 'timestamp'],
    ['testcase', 'system-out'],
  ],
  testcase: [
    ['name', 'classname'],
    ['skipped', 'failure'],
  ],
  skipped: [['message'], []],
  failure: [['type', 'message'], []],
  'system-out': [[], []],
}

const isShaped = (element: Element): void => {
  const [attributes, children] = ALLOWED[element.name] ?? [[], []]
  expect(Object.keys(ALLOWED)).toContain(element.name)
  expect(Object.keys(element.attributes).toSorted()).toEqual(attributes.toSorted())
  const order = element.children.map(({ name }) => children.indexOf(name))
  expect(order).toEqual(order.toSorted((a, b) => a - b))
  expect(order).not.toContain(-1)
  for (const child of element.children) isShaped(child)
}

test.each([
  [{}, 0],
  [{ failing: true, foreign: EVIL }, 4],
  [{ bound: true }, 1],
  [{ over: { invariants: [], assertions: [], drills: [], skipped: {} } }, 0],
])('%j: the shape of the schema, and sums that are right', (options, failures) => {
  const root = readElements(junitReport(sampleReport(options)))
  isShaped(root)
  expect(root.attributes['failures']).toBe(String(failures))
  for (const suite of [root, ...elementsOf(root, 'testsuite')]) {
    expect(suite.attributes['tests']).toBe(String(count(suite, 'testcase')))
    expect(suite.attributes['failures']).toBe(String(count(suite, 'failure')))
  }
  for (const suite of elementsOf(root, 'testsuite')) {
    expect(suite.attributes['skipped']).toBe(String(count(suite, 'skipped')))
    expect(suite.attributes['timestamp']).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$/)
  }
})

test('a failure has its evidence, and what cannot be written in XML is not in it', () => {
  const root = readElements(junitReport(sampleReport({ failing: true, foreign: EVIL })))
  const broken = elementsOf(root, 'testcase').find(
    ({ attributes }) => attributes['name'] === 'revoked_stay_out',
  )
  const [failure] = broken?.children ?? []
  expect(failure?.attributes['message']).toMatch(/^2 of 1204: from T after/)
  expect(failure?.text).toContain(`sim-3f2a-17"/><x>]]>'&\ufffd\nnext: GET /telemetry got 200`)
})

test('what is not judged is skipped, and a run that is not ok fails all the same', () => {
  const root = readElements(junitReport(sampleReport({ bound: true })))
  const failed = elementsOf(root, 'testcase').filter((each) => count(each, 'failure') > 0)
  const skipped = elementsOf(root, 'testcase').filter((each) => count(each, 'skipped') > 0)
  expect(failed.map(({ attributes }) => attributes['name'])).toEqual(['the verdict is ok'])
  expect(skipped.map(({ attributes }) => attributes['name'])).toEqual([
    'the load generator kept up',
    'clones_noticed',
    'https.p99<500ms',
    'clone',
  ])
})
