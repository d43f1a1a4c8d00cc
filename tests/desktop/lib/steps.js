// A test of many steps.

/** Runs steps of a test. Each stands on the one before: the first that fails is the last. */
export function steps(t) {
  return async (name, run) => {
    let result, error;
    await t.test(name, async () => {
      try {
        result = await run();
      } catch (caught) {
        throw (error = caught);
      }
    });
    if (error) throw error;
    return result;
  };
}
