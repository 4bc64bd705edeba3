//! Many operations at once: they travel behind one another on the session's one connection, instead
//! of each waiting for the last one's answer. Knows nothing of what they are.

use tokio::task::JoinSet;

/// So many are under way together; more only wait in memory for the session to take them up.
const TOGETHER: usize = 2048;

/// Runs `work` for every item, and returns the results in the items' order. Dropping the future drops
/// all that is under way.
pub async fn each<I, F>(items: Vec<I>, work: impl Fn(I) -> F) -> Vec<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let mut items = items.into_iter();
    let mut all = Vec::new();
    loop {
        let mut under_way = JoinSet::new();
        let first = all.len();
        for (i, item) in items.by_ref().take(TOGETHER).enumerate() {
            let future = work(item);
            under_way.spawn(async move { (first + i, future.await) });
        }
        if under_way.is_empty() {
            return all;
        }
        let mut done = Vec::with_capacity(under_way.len());
        while let Some(result) = under_way.join_next().await {
            match result {
                Ok(one) => done.push(one),
                Err(e) => match e.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // Only a runtime that is going away cancels; then nobody waits for the result.
                    Err(_) => std::future::pending().await,
                },
            }
        }
        done.sort_by_key(|(i, _)| *i);
        all.extend(done.into_iter().map(|(_, result)| result));
    }
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn results_come_in_the_order_of_the_items_whatever_the_order_of_their_ends() {
        let results = super::each((0..5000_u32).collect(), |i| async move {
            for _ in 0..(5 - i % 5) {
                tokio::task::yield_now().await;
            }
            i
        });
        assert_eq!(results.await, (0..5000).collect::<Vec<_>>());
    }
}
