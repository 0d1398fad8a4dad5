/** Every command against real desks, as processes: what it does, what it prints, how it ends. */

import { readFileSync, rmSync, statSync, writeFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { X509Certificate } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Problem } from '#wire/problems.ts'
import type { Device, OperatorCreated, Token, TokenCreated } from '#wire/rest.ts'
import type { SimulationReport } from '#wire/simulation-report.ts'
import { startFleet, type Fleet } from '../../support/fleet.ts'

let fleet: Fleet
beforeAll(async () => {
  fleet = await startFleet()
}, 60_000)
afterAll(() => fleet[Symbol.asyncDispose]())

const json = async <T>(...args: string[]): Promise<T> => {
  const { code, stdout, stderr } = await fleet.cli([...args, '--json'])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return JSON.parse(stdout) as T
}

/** with its exit code */
const refusal = async (...args: string[]): Promise<Problem & { exit: number }> => {
  const { code, stdout, stderr } = await fleet.cli([...args, '--json'])
  expect(stdout).toBe('')
  return { ...(JSON.parse(stderr) as Problem), exit: code }
}

test('a device, from its token to its end', { timeout: 60_000 }, async () => {
  const made = await json<TokenCreated>(
    'token',
    'create',
    '--device',
    'pump-7',
    '--expires',
    '10m',
    '--cert-ttl',
    '1h',
  )
  expect(made).toMatchObject({ device_id: 'pump-7', uses: 1, enroll_url: fleet.urls.devices })

  const enrolled = await fleet.cli(['device', 'enroll', 'pump-7', '--token', made.token])
  expect(enrolled.stderr).toBe('')
  expect(enrolled.stdout).toMatch(/^device pump-7 is enrolled until .*\n {2}key +pump-7\/key\.pem\n/)
  const file = (name: string): string => readFileSync(join(fleet.home, 'pump-7', name), 'utf8')
  expect(readdirSync(join(fleet.home, 'pump-7')).toSorted()).toEqual([
    'cert.pem',
    'chain.pem',
    'full.pem',
    'key.pem',
    'root.pem',
  ])
  expect(statSync(join(fleet.home, 'pump-7/key.pem')).mode & 0o777).toBe(0o600)
  expect(file('full.pem')).toBe(file('cert.pem') + file('chain.pem'))
  expect(new X509Certificate(file('root.pem')).raw).toEqual(new X509Certificate(fleet.rootPem).raw)
  expect(new X509Certificate(file('cert.pem')).subject).toBe('CN=pump-7')

  const shown = await json<Device>('device', 'show', 'pump-7')
  expect(shown).toMatchObject({ id: 'pump-7', state: 'active', certificates: [{ state: 'live' }] })
  expect((await fleet.cli(['token', 'ls'])).stdout).toMatch(
    new RegExp(`${made.id} +spent +default +pump-7 +1/1`),
  )

  for (const [verb, state] of [
    ['suspend', 'suspended'],
    ['resume', 'active'],
    ['revoke', 'revoked'],
    ['retire', 'retired'],
  ] as const) {
    expect((await fleet.cli(['device', verb, 'pump-7'])).stdout).toContain(`pump-7 is ${state}`)
    expect(
      (await json<{ items: Device[] }>('device', 'ls', '--state', state)).items.map(({ id }) => id),
    ).toContain('pump-7')
  }
  expect(await refusal('device', 'resume', 'pump-7')).toMatchObject({
    exit: 1,
    status: 409,
    reason: 'conflict',
  })
})

test(
  'an answer that was lost: the same token and the key that was kept complete it',
  { timeout: 60_000 },
  async () => {
    const token = await fleet.token({ device_id: 'lost' })
    const enroll = () =>
      json<{ serial: string; files: { cert: string } }>(
        'device',
        'enroll',
        'lost',
        '--token',
        token,
        '--out',
        'somewhere',
      )
    const first = await enroll()
    const key = readFileSync(join(fleet.home, 'somewhere/key.pem'), 'utf8')
    expect(await refusal('device', 'enroll', 'lost', '--token', token, '--out', 'somewhere')).toMatchObject({
      exit: 1,
      reason: 'conflict',
      detail: expect.stringContaining('somewhere/cert.pem exists'),
    })
    rmSync(first.files.cert)
    expect((await enroll()).serial).toBe(first.serial)
    expect(readFileSync(join(fleet.home, 'somewhere/key.pem'), 'utf8')).toBe(key)
    // without the key it is somebody else's token
    expect(await refusal('device', 'enroll', 'lost', '--token', token, '--out', 'elsewhere')).toMatchObject({
      exit: 1,
      reason: 'token_spent',
    })
  },
)

test('the token is not sent to a server that is not the one it is for', { timeout: 60_000 }, async () => {
  const token = await fleet.token({ device_id: 'careful' })
  const other = `${token.slice(0, token.lastIndexOf('.'))}.${'A'.repeat(43)}`
  expect(await refusal('device', 'enroll', 'careful', '--token', other)).toMatchObject({
    exit: 3,
    reason: 'target_unreachable',
  })
  expect(
    await refusal('device', 'enroll', 'careful', '--token', token, '--ca-sha256', 'ab'.repeat(32)),
  ).toMatchObject({ exit: 3 })
  expect(
    await refusal('device', 'enroll', 'careful', '--token', token, '--server', 'https://127.0.0.1:9'),
  ).toMatchObject({ exit: 3 })
  const { items } = await json<{ items: Token[] }>('token', 'ls')
  expect(items.find(({ device_id }) => device_id === 'careful')).toMatchObject({ used: 0 })
  // and the right one works, with what was left behind by the failures
  expect(
    (await fleet.cli(['device', 'enroll', 'careful', '--token', token, '--ca', fleet.rootPath])).code,
  ).toBe(0)
})

test('a revoked token enrols nobody', { timeout: 60_000 }, async () => {
  const { id, token } = await json<TokenCreated>('token', 'create')
  expect(await json<Token>('token', 'revoke', id)).toMatchObject({ state: 'revoked' })
  const { code, stderr } = await fleet.cli(['device', 'enroll', 'nobody', '--token', token])
  expect(code).toBe(1)
  expect(stderr).toMatch(/token_revoked\)\n {2}Make another one: npx sallyport token create\n/)
})

test('operator tokens: made, limited by their role, revoked', { timeout: 60_000 }, async () => {
  const made = await json<OperatorCreated>(
    'operator',
    'token',
    'create',
    '--name',
    'watcher',
    '--role',
    'viewer',
  )
  const file = join(fleet.home, 'viewer.token')
  writeFileSync(file, made.token, { mode: 0o600 })
  const as = ['--operator-token-file', file]
  expect((await fleet.cli(['device', 'ls', ...as])).code).toBe(0)
  expect(await refusal('token', 'create', ...as)).toMatchObject({
    exit: 1,
    status: 403,
    reason: 'forbidden',
    request_id: expect.not.stringMatching('local'),
  })
  expect((await fleet.cli(['operator', 'token', 'revoke', made.id])).code).toBe(0)
  expect(await refusal('device', 'ls', ...as)).toMatchObject({
    exit: 1,
    status: 401,
    reason: 'token_revoked',
  })
  expect((await fleet.cli(['operator', 'token', 'ls'])).stdout).toMatch(/revoked +viewer +watcher/)
})

test(
  'a lost operator token is recovered on the registry file, beside the running desk',
  { timeout: 60_000 },
  async () => {
    const file = join(fleet.home, 'certs/private/operator.token')
    const before = readFileSync(file, 'utf8')
    rmSync(file)
    expect(await refusal('device', 'ls')).toMatchObject({
      exit: 2,
      detail: expect.stringContaining('--offline --save'),
    })
    expect(
      (await fleet.cli(['operator', 'token', 'create', '--offline', '--save', '--name', 'again'])).code,
    ).toBe(0)
    expect(readFileSync(file, 'utf8')).not.toBe(before)
    expect((await fleet.cli(['device', 'ls'])).code).toBe(0)
  },
)

test('apply takes all of a file, or nothing', { timeout: 60_000 }, async () => {
  const put = (text: string): string => {
    const path = join(fleet.home, 'fleet.yaml')
    writeFileSync(path, text)
    return path
  }
  const policy = '{name: pumps, decision: non_identity, include: [{common_name: {common_name: pump-7}}]}'
  const application = (policies: string) =>
    `{name: pumps, hostnames: [pumps.example], https: {path: "/*", origin: "http://127.0.0.1:9"}, policies: [${policies}]}`
  const bad = put(`policies: [${policy}]\napplications: [${application('nothing')}]\n`)
  expect(await refusal('apply', '-f', bad)).toMatchObject({ exit: 1 })
  expect(await refusal('policy', 'show', 'pumps')).toMatchObject({ exit: 1, reason: 'not_found' })
  const good = put(`policies: [${policy}]\napplications: [${application('pumps')}]\n`)
  expect((await fleet.cli(['apply', '-f', good])).stdout).toMatch(
    /^applications: pumps is in place\npolicies: pumps is in place\nnote: application pumps: no anchor is for pumps\.example: .*\n$/,
  )
  expect((await fleet.cli(['app', 'ls'])).stdout).toMatch(
    /pumps +pumps\.example +\/\* -> http:\/\/127\.0\.0\.1:9 +- +- +pumps/,
  )
  expect((await fleet.cli(['anchor', 'ls'])).stdout).toMatch(/development +localhost/)
  const people = put('policies: [{name: x, decision: allow, include: [{email: {email: a@b.example}}]}]\n')
  expect(await refusal('apply', '-f', people)).toMatchObject({
    exit: 1,
    reason: 'unsupported',
    detail: expect.stringContaining('policy x: include[0]: there is no selector email'),
  })
})

test('ca show reads the files, without a desk', async () => {
  type Shown = {
    root: { sha256: string }
    issuers: { state: string; key_here: boolean }[]
    in_words: string[]
  }
  const shown = await json<Shown>('ca', 'show')
  expect(Object.keys(shown)).toEqual(['root', 'intermediate', 'services', 'server', 'issuers', 'in_words'])
  expect(shown.issuers).toMatchObject([{ state: 'active', key_here: true }])
  expect(shown.in_words).toEqual([expect.stringMatching(/^Certificates are signed by "Sallyport Devices"/)])
  expect(shown.root.sha256).toBe(
    new X509Certificate(fleet.rootPem).fingerprint256.replaceAll(':', '').toLowerCase(),
  )
})

test('ca init never writes over a PKI', async () => {
  const before = readFileSync(fleet.rootPath, 'utf8')
  expect(await refusal('ca', 'init')).toMatchObject({ exit: 1, reason: 'conflict' })
  expect(readFileSync(fleet.rootPath, 'utf8')).toBe(before)
})

test('sim run reports, and ends as it went', { timeout: 60_000 }, async () => {
  const args = ['sim', 'run', '--devices', '2', '--rounds', '1']
  const report = await json<SimulationReport>(...args)
  expect(report).toMatchObject({ verdict: { ok: true }, counts: { enrolled_rest: 2 }, errors: {} })
  // a token with one use for two devices
  const token = await fleet.token()
  const { code, stdout, stderr } = await fleet.cli([...args, '--token', token, '--json'])
  expect(code).toBe(1)
  expect(JSON.parse(stdout)).toMatchObject({
    counts: { enrolled_rest: 1 },
    refused: { enroll: { token_spent: 1 } },
  })
  expect(stdout).not.toContain(token)
  expect(JSON.parse(stderr)).toMatchObject({
    reason: 'expectation_broken',
    detail: expect.stringMatching(
      /repeat it with: .*npx sallyport sim run calm .*--devices 2 --rounds 1 --token '<claim token>'/,
    ),
  })
})

test('nobody there: exit 3', async () => {
  expect(await refusal('device', 'ls', '--operator-url', 'http://127.0.0.1:9')).toMatchObject({
    exit: 3,
    reason: 'target_unreachable',
    detail: expect.stringContaining('npm start'),
  })
})
