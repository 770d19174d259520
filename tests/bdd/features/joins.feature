Feature: However nodes join, shards are spread evenly
  The number of shards of two nodes differs by at most one, in whatever order and with whatever
  timing the nodes come.

  Scenario Outline: <count> nodes join <how>
    Given a proxy that waits for <count> nodes
    When <count> nodes join <how>
    Then every shard has one primary
    And the shards are spread evenly

    Examples:
      | count | how                     |
      | 1     | at once                 |
      | 2     | at once                 |
      | 2     | in reverse order        |
      | 3     | at once                 |
      | 3     | with pauses between     |
      | 5     | in reverse order        |
      | 5     | in a random order       |
      | 8     | at once                 |
      | 8     | in a random order       |

  Scenario: Nodes that come after the first assignment get their share
    Given a cluster of nodes A and B
    When node C joins
    Then the shards are spread evenly
    When nodes D and E join
    Then the shards are spread evenly

  Scenario: A node that joins, leaves and joins again
    Given a cluster of nodes A and B
    When node C joins
    Then the shards are spread evenly
    When node C is drained
    Then node C has no shards
    When the drain of node C is cancelled
    Then the shards are spread evenly

  Scenario: A node that comes while rebalancing on join is switched off gets nothing by itself
    Given a cluster of nodes A and B without rebalancing on join
    When node C joins
    Then node C has no shards
    When the operator starts a rebalance
    Then the shards are spread evenly
