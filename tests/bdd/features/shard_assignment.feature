Feature: Nodes get their shards from the coordinator
  The keyspace is cut into shards. A node registers, is told which shards are its own, creates those
  and no others: a key of somebody else's shard is never stored there.

  Scenario: Nodes receive their shards when they register
    Given a proxy that waits for 3 nodes
    When nodes A, B and C join
    Then every shard has one primary
    And the shards are spread evenly
    And each node says itself that it holds exactly the shards that the proxy shows

  Scenario: Nobody takes everything before enough nodes are there
    Given a proxy that waits for 3 nodes
    When nodes A and B join
    Then no node has a shard
    And a request is answered with CLUSTERDOWN
    And the cluster's state tells how many nodes it waits for
    When node C joins
    Then every shard has one primary
    And a request is answered

  Scenario: A key is stored where its shard is and nowhere else
    Given a cluster of nodes A, B and C
    When 200 keys are written to each node directly
    Then each key was taken by its shard's primary only
    And the others answered where it lives

  Scenario: A key written through the proxy is found on its node
    Given a cluster of nodes A, B and C
    When 200 keys are written through the proxy
    Then each key is on its shard's two nodes and on no other

  Scenario: Before it is told so, a node stores nothing
    Given a proxy that waits for 2 nodes
    When node A joins
    And a key is written to node A directly
    Then node A answers with CLUSTERDOWN
    And node A has no keys

  Scenario: The proxy's memory of who has what survives kill -9
    Given a cluster of nodes A, B and C
    When the proxy is killed and started again
    Then every shard has the primary that it had before
    And a request is answered
