/** Keeping what a device holds, whatever becomes of the disk: a device that cannot store it says so and goes on with what it has in memory. */

import { now } from '../clock.ts'
import type { DevicePlan } from './plan.ts'
import type { RunScope } from './run-scope.ts'
import type { Kept } from './state.ts'
import { errorOf } from './trouble.ts'

/** Never rejects. */
export const store = async (
  { id }: DevicePlan,
  { state, emit }: Pick<RunScope, 'state' | 'emit'>,
  kept: Kept,
): Promise<void> => {
  const began = now()
  try {
    await state.keep(id, kept)
  } catch (error) {
    emit(errorOf(id, 'enroll', error, began))
  }
}
