//! Questions that come together share one statement.
//!
//! A statement's round trip costs both sides far more than one more key in it. Who asks while few statements are under
//! way asks at once; who comes later waits for one of them to end, and then one of those who waited asks for all.
//! Nobody waits for others to come, and an answer is never older than its question.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use time::OffsetDateTime;
use tokio::{sync::oneshot, time::timeout};

use super::StoreError;

/// Statements under way at once, before questions wait for each other.
const MOST_UNDER_WAY: usize = 2;
/// Keys in one statement.
const MOST_KEYS: usize = 256;

/// Where questions of one kind meet.
pub(super) struct Together<K, V> {
    /// How long a statement may take, with the wait for a connection: one that hangs holds up everybody.
    longest: Duration,
    state: Mutex<State<K, V>>,
}

struct State<K, V> {
    under_way: usize,
    waiting: VecDeque<Waiter<K, V>>,
}

struct Waiter<K, V> {
    key: K,
    now: OffsetDateTime,
    turn: oneshot::Sender<Turn<K, V>>,
}

/// What comes to one who waits.
enum Turn<K, V> {
    Answer(Result<Option<V>, StoreError>),
    Ask(Lead<K, V>),
}

/// The right to ask, for others too. Dropped, it passes to one who waits; the others it was for ask again.
struct Lead<K, V> {
    together: Arc<Together<K, V>>,
    others: Vec<Waiter<K, V>>,
}

impl<K: Copy + Eq + Hash, V: Clone> Together<K, V> {
    /// Gives up a statement that takes longer than `longest`, the wait for a connection included.
    pub(super) fn new(longest: Duration) -> Arc<Self> {
        let state = Mutex::new(State { under_way: 0, waiting: VecDeque::new() });
        Arc::new(Self { longest, state })
    }

    /// What `fetch` finds for a key at a time. It gets this key and those of all who wait, and the latest of their times.
    pub(super) async fn ask<F>(
        self: &Arc<Self>,
        key: K,
        now: OffsetDateTime,
        fetch: impl FnOnce(Vec<K>, OffsetDateTime) -> F,
    ) -> Result<Option<V>, StoreError>
    where
        F: Future<Output = Result<HashMap<K, V>, StoreError>>,
    {
        let mut lead = loop {
            match self.enter(key, now) {
                Ok(lead) => break lead,
                Err(turn) => match turn.await {
                    Ok(Turn::Answer(answer)) => return answer,
                    Ok(Turn::Ask(lead)) => break lead,
                    // Whoever asked for this one has gone away.
                    Err(_) => {}
                },
            }
        };
        let mut keys = vec![key];
        keys.extend(lead.others.iter().map(|other| other.key));
        let now = lead.others.iter().fold(now, |latest, other| latest.max(other.now));
        let found = timeout(self.longest, fetch(keys, now)).await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable(format!(
                "a statement has taken longer than {} s",
                self.longest.as_secs()
            )))
        });
        let answer = |key: K| match &found {
            Ok(found) => Ok(found.get(&key).cloned()),
            Err(error) => Err(error.clone()),
        };
        for other in mem::take(&mut lead.others) {
            // Those that have gone away need no answer.
            other.turn.send(Turn::Answer(answer(other.key))).ok();
        }
        answer(key)
    }

    /// The right to ask now, or when it is one's turn.
    fn enter(
        self: &Arc<Self>,
        key: K,
        now: OffsetDateTime,
    ) -> Result<Lead<K, V>, oneshot::Receiver<Turn<K, V>>> {
        let mut state = self.lock();
        if state.under_way < MOST_UNDER_WAY {
            state.under_way += 1;
            return Ok(Lead { together: Arc::clone(self), others: Vec::new() });
        }
        let (turn, mine) = oneshot::channel();
        state.waiting.push_back(Waiter { key, now, turn });
        Err(mine)
    }
}

impl<K, V> Together<K, V> {
    fn lock(&self) -> MutexGuard<'_, State<K, V>> {
        // Nobody panics between its two ends.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, V> Drop for Lead<K, V> {
    fn drop(&mut self) {
        let (next, others) = {
            let mut state = self.together.lock();
            // Those that have gone away are asked for nothing.
            state.waiting.retain(|waiter| !waiter.turn.is_closed());
            let Some(next) = state.waiting.pop_front() else {
                state.under_way -= 1;
                return;
            };
            let others = state.waiting.len().min(MOST_KEYS - 1);
            (next, state.waiting.drain(..others).collect())
        };
        // Where that one has gone away, this drops the new right, which passes on.
        next.turn.send(Turn::Ask(Lead { together: Arc::clone(&self.together), others })).ok();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::Poll,
    };

    use futures_util::{future::join_all, poll};
    use tokio::sync::Semaphore;

    use super::*;

    /// A database that answers each key below 100 with its double, when it is let.
    struct Slow {
        together: Arc<Together<u32, u32>>,
        answers: Semaphore,
        statements: Mutex<Vec<Vec<u32>>>,
    }

    impl Slow {
        fn new() -> Self {
            Self {
                together: Together::new(Duration::from_secs(5)),
                answers: Semaphore::new(0),
                statements: Mutex::default(),
            }
        }

        async fn ask(&self, key: u32) -> Result<Option<u32>, StoreError> {
            self.together
                .ask(key, OffsetDateTime::UNIX_EPOCH + Duration::from_secs(key.into()), async |keys, now| {
                    let latest = keys.iter().max().copied().unwrap_or_default();
                    assert_eq!(now.unix_timestamp(), i64::from(latest), "the latest of their times");
                    self.statements.lock().unwrap().push(keys.clone());
                    self.answers.acquire().await.unwrap().forget();
                    if keys.contains(&1_000) {
                        return Err(StoreError::Unavailable("gone".into()));
                    }
                    Ok(keys.into_iter().filter(|key| *key < 100).map(|key| (key, 2 * key)).collect())
                })
                .await
        }

        fn statements(&self) -> Vec<Vec<u32>> {
            self.statements.lock().unwrap().clone()
        }

        fn is_at_rest(&self) -> bool {
            let state = self.together.lock();
            state.under_way == 0 && state.waiting.is_empty()
        }
    }

    #[tokio::test]
    async fn who_waits_shares_the_next_statement() {
        let slow = Slow::new();
        let mut asked: Vec<_> = [1, 2, 3, 4, 3, 200].into_iter().map(|key| Box::pin(slow.ask(key))).collect();
        for ask in &mut asked {
            assert!(poll!(ask).is_pending());
        }
        assert_eq!(slow.statements(), [[1], [2]], "the first two ask at once");
        slow.answers.add_permits(3);
        let answers: Vec<_> = join_all(asked).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers, [Some(2), Some(4), Some(6), Some(8), Some(6), None]);
        assert_eq!(slow.statements()[2..], [[3, 4, 3, 200]]);
        assert!(slow.is_at_rest());
    }

    #[tokio::test]
    async fn an_error_is_everybodys() {
        let slow = Slow::new();
        let mut asked: Vec<_> = [1, 2, 3, 1_000].into_iter().map(|key| Box::pin(slow.ask(key))).collect();
        for ask in &mut asked {
            assert!(poll!(ask).is_pending());
        }
        slow.answers.add_permits(10);
        let answers = join_all(asked).await;
        assert_eq!((answers[0].as_ref().unwrap(), answers[1].as_ref().unwrap()), (&Some(2), &Some(4)));
        for answer in &answers[2..] {
            assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
        }
        assert!(slow.is_at_rest());
        assert_eq!(slow.ask(7).await.unwrap(), Some(14), "the next one has nothing of it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_statement_that_hangs_is_given_up_and_the_next_one_asked() {
        let slow = Slow::new();
        let mut asked: Vec<_> = (1..=4).map(|key| Box::pin(slow.ask(key))).collect();
        for ask in &mut asked {
            assert!(poll!(ask).is_pending());
        }
        let (hung, waited) = asked.split_at_mut(2);
        for ask in hung {
            assert!(matches!(ask.await, Err(StoreError::Unavailable(_))));
        }
        slow.answers.add_permits(2);
        assert_eq!(waited[0].as_mut().await.unwrap(), Some(6));
        assert_eq!(waited[1].as_mut().await.unwrap(), Some(8));
        assert!(slow.is_at_rest());
    }

    #[tokio::test]
    async fn one_statement_has_no_more_keys_than_it_may() {
        let slow = Slow::new();
        let mut asked: Vec<_> = (1..=2 * MOST_KEYS + 3).map(|_| Box::pin(slow.ask(7))).collect();
        for ask in &mut asked {
            assert!(poll!(ask).is_pending());
        }
        slow.answers.add_permits(asked.len());
        assert!(join_all(asked).await.into_iter().all(|answer| answer.unwrap() == Some(14)));
        let mut sizes: Vec<_> = slow.statements().iter().map(Vec::len).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [1, 1, 1, MOST_KEYS, MOST_KEYS]);
    }

    #[tokio::test]
    async fn who_goes_away_takes_nobody_along() {
        let slow = Slow::new();
        let mut asked: Vec<_> = (1..=5).map(|key| Some(Box::pin(slow.ask(key)))).collect();
        for ask in asked.iter_mut().flatten() {
            assert!(poll!(ask).is_pending());
        }
        // One with a statement under way: its right passes to the third, which asks for the fourth and fifth too.
        asked[0] = None;
        assert!(poll!(asked[2].as_mut().unwrap()).is_pending());
        assert_eq!(slow.statements()[2], [3, 4, 5]);
        // That one too, in the middle of it: the fourth asks for itself, and the fifth waits.
        asked[2] = None;
        for ask in asked[3..].iter_mut().flatten() {
            assert!(poll!(ask).is_pending());
        }
        assert_eq!(slow.statements()[3..], [[4]]);
        // One whose turn has come, but that never looks.
        slow.answers.add_permits(1);
        let Poll::Ready(answer) = poll!(asked[1].as_mut().unwrap()) else { panic!("it may answer") };
        assert_eq!(answer.unwrap(), Some(4));
        asked[4] = None;
        slow.answers.add_permits(9);
        assert_eq!(asked[3].take().unwrap().await.unwrap(), Some(8));
        assert!(slow.is_at_rest());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn in_any_order_everybody_gets_their_own() {
        let slow = Arc::new(Slow::new());
        slow.answers.add_permits(100_000);
        let answered = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..2_000_u32)
            .map(|number| {
                let (slow, answered) = (Arc::clone(&slow), Arc::clone(&answered));
                tokio::spawn(async move {
                    let key = number % 150;
                    let answer = slow.ask(key).await.unwrap();
                    assert_eq!(answer, (key < 100).then_some(2 * key));
                    answered.fetch_add(1, Ordering::Relaxed);
                })
            })
            .collect();
        for task in tasks.iter().step_by(7) {
            task.abort();
        }
        let (mut done, mut aborted) = (0, 0);
        for task in tasks {
            match task.await {
                Ok(()) => done += 1,
                Err(error) => {
                    assert!(error.is_cancelled(), "{error}");
                    aborted += 1;
                }
            }
        }
        assert_eq!((done, done + aborted), (answered.load(Ordering::Relaxed), 2_000));
        assert!(slow.is_at_rest());
    }
}
